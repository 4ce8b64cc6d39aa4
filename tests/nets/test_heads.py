import torch
from torch import nn
from torch.nn.functional import batch_norm, cosine_similarity

from pipeline.nets.heads import Head, Prototypes


def test_layers_and_biases():
    def shape(head):
        return [(type(m).__name__, getattr(m, "bias", None) is not None) for m in head]

    linear = ("Linear", True)
    assert shape(Head([8, 3])) == shape(Head([8, 3], norm=False)) == [linear]
    hidden = [("Linear", False), ("BatchNorm1d", True), ("ReLU", False)]
    assert shape(Head([8, 6, 4, 3])) == [*hidden, *hidden, linear]
    assert shape(Head([8, 6, 3], norm=False)) == [linear, ("ReLU", False), linear]


def test_the_function():
    head, x = Head([8, 6, 3]), torch.randn(5, 8)
    hidden = batch_norm(x @ head[0].weight.T, None, None, head[1].weight, head[1].bias, True).clamp(min=0)
    assert torch.allclose(head(x), hidden @ head[3].weight.T + head[3].bias, atol=1e-5)


def test_first_layers_are_the_same_modules():
    head = Head([8, 6, 4, 3])
    assert list(head.first(0)) == []
    assert list(head.first(1)) == list(head)[:3]
    assert list(head.first(2)) == list(head)[:6]
    assert list(head.first(3)) == list(head)
    assert list(Head([8, 6, 3], norm=False).first(1))[-1].__class__ is nn.ReLU


def test_a_head_without_last_bias_is_rebuilt_as_such():
    head = Head([8, 6, 3], last_bias=False)
    assert head[-1].bias is None and Head(**head.spec)[-1].bias is None
    assert "last_bias" not in Head([8, 3]).spec  # models that were saved before are read as they were


def test_prototypes_give_cosines_whatever_the_lengths():
    prototypes, z = Prototypes(4, 3), torch.randn(5, 4)
    with torch.no_grad():
        prototypes.weight.mul_(torch.tensor([[0.1], [1.0], [30.0]]))
    expected = cosine_similarity(z[:, None], prototypes.weight[None], dim=2)
    torch.testing.assert_close(prototypes(z), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(prototypes(100 * z), expected)
    assert [name for name, _ in prototypes.named_parameters()] == ["weight"]  # lightly's have a bias


def test_frozen_prototypes_keep_their_directions_under_momentum_and_weight_decay():
    prototypes, z = Prototypes(4, 3), torch.randn(5, 4)
    before = prototypes(z).detach()
    optimiser = torch.optim.SGD(prototypes.parameters(), lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        prototypes(z, frozen=True)[:, 0].sum().backward()
        assert prototypes.weight.grad.eq(0).all()  # zero, but there: DDP waits for each parameter
        optimiser.step()
    torch.testing.assert_close(prototypes(z).detach(), before)
    prototypes.normalise()
    torch.testing.assert_close(prototypes.weight.detach().norm(dim=1), torch.ones(3))
    prototypes(z)[:, 0].sum().backward()
    assert prototypes.weight.grad.any()


def test_frozen_prototypes_pass_the_gradient_on_to_the_features():
    prototypes, z = Prototypes(4, 3), torch.randn(5, 4, requires_grad=True)
    moving, still = (torch.autograd.grad(prototypes(z, frozen).square().sum(), z)[0] for frozen in (False, True))
    assert moving.any() and torch.equal(moving, still)

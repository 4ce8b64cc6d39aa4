import torch
from torch.nn.functional import cosine_similarity

from pipeline.nets.prototypes import Prototypes


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

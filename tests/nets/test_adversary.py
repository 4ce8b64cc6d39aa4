"""One backward pass, two directions."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.nets.adversary import Discriminator, reverse


@pytest.mark.parametrize("scale", [1.0, 0.25, 0.0])
def test_forwards_nothing_changes_and_backwards_the_sign(scale):
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = reverse(x, scale)
    assert torch.equal(y, x)
    (gradient,) = torch.autograd.grad((y**3).sum(), x)
    torch.testing.assert_close(gradient, -scale * 3 * x.detach() ** 2)


@pytest.mark.parametrize("side", [4, 5, 16, 112])
def test_one_logit_for_an_image_of_any_side(side):
    assert Discriminator(3, side, 2)(torch.randn(5, 3, side, side)).shape == (5,)


@pytest.mark.parametrize("size", [2, 3, 17])
def test_the_critic_descends_the_cross_entropy_that_the_maker_ascends(size):
    """Of the maker by finite differences, of the critic against the cross-entropy of torch."""
    torch.manual_seed(0)
    critic, weight = Discriminator(1, 4, 3).double(), 0.3
    real, made = torch.randn(2, size, 1, 4, 4, dtype=torch.float64)

    def entropy(made):
        said = torch.stack([critic(real), critic(made)])
        return 2 * F.binary_cross_entropy_with_logits(said, torch.tensor([[1.0], [0.0]]).double().expand_as(said))

    loss = critic.against(real, made.requires_grad_(), weight)
    expected = entropy(made)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)  # in fp32
    gradients = torch.autograd.grad(loss, [*critic.parameters(), made])
    *plain, _ = torch.autograd.grad(expected, [*critic.parameters(), made])
    torch.testing.assert_close(list(gradients[:-1]), plain, rtol=1e-5, atol=1e-7)
    step, other = 1e-4, torch.randn_like(made)
    with torch.no_grad():
        slope = (entropy(made + step * other) - entropy(made - step * other)) / (2 * step)
    assert (gradients[-1] * other).sum().item() == pytest.approx(-weight * slope.item(), rel=1e-4)

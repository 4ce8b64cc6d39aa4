"""Inpainting: what is in the hole, from what is around it."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder

ENTRY = catalogue.find("inpainting", "pretext")


def inpainting(size=16, channels=1, **knobs):
    torch.manual_seed(0)
    encoder = build_encoder(params.Encoder(args={"width": 2}), channels, size, [0.5] * channels, [0.25] * channels)
    return ENTRY.load()(encoder, **{"width": 2, "overlap": 0.125} | knobs).train()


def corners(method, x):
    """Of the square that is predicted."""
    if method.region == "centre":
        return [(4, 4)] * len(x)
    return [(int(9 * down), int(9 * right)) for down, right in method.luck(x, 2).tolist()]


def oracle(method, x):
    """(squares, cross-entropy of the discriminator), with slices: a square of 8 in 16 pixels, of which 6 are hidden."""
    shown, weight = x.clone(), np.full((8, 8), 10.0)
    weight[1:-1, 1:-1] = 1
    for image, (top, left) in zip(shown, corners(method, x), strict=True):
        image[:, top + 1 : top + 7, left + 1 : left + 7] = 0
    truth = torch.stack([i[:, t : t + 8, w : w + 8] for i, (t, w) in zip(x, corners(method, x), strict=True)])
    with torch.no_grad():
        made = method.decoder(method.online(shown))
        logits = [method.discriminator(each).double().numpy() for each in (truth, made)] if method.discriminator else []
    squares = (weight * (made.double() - truth.double()).numpy() ** 2).mean()
    if not logits:
        return squares, 0.0
    real, fake = (1 / (1 + np.exp(-each)) for each in logits)
    return squares, -np.log(real).mean() - np.log(1 - fake).mean()


@pytest.mark.parametrize("batch", [2, 3, 17])
@pytest.mark.parametrize("knobs", [{}, {"region": "random"}, {"adversarial": 0.0}, {"adversarial": 0.3}], ids=str)
def test_the_loss_is_that_of_the_square_and_its_rim_counts_ten_times(batch, knobs):
    method, x = inpainting(channels=3, **knobs), torch.randn(batch, 3, 16, 16)
    squares, entropy = oracle(method, x)
    share = knobs.get("adversarial", 0.001)
    assert method(x=x).item() == pytest.approx((1 - share) * squares + entropy, rel=1e-5)


@pytest.mark.parametrize("region", ["centre", "random"])
def test_the_network_does_not_see_what_it_predicts(region):
    """But for the rim: there is no gradient at hidden pixels, and changing them changes the target alone."""
    method, seen = inpainting(region=region, adversarial=0.0), []
    method.online.encoder.register_forward_hook(lambda _, inputs, features: seen.append((inputs[0], features)))
    x = torch.randn(4, 1, 16, 16, requires_grad=True)
    hidden = torch.zeros(4, 1, 16, 16, dtype=torch.bool)
    for row, (top, left) in zip(hidden, corners(method, x), strict=True):
        row[:, top + 1 : top + 7, left + 1 : left + 7] = True
    first = method(x=x)
    (gradient,) = torch.autograd.grad(seen[0][1].square().sum(), x)
    assert gradient[hidden].eq(0).all() and gradient[~hidden].ne(0).float().mean() > 0.9
    assert seen[0][0][hidden].eq(0).all(), "the mean of the images, which are normalised"
    with torch.no_grad():
        second = method(x=torch.where(hidden, x + 1, x))
    assert torch.equal(seen[0][0], seen[1][0]) and first != second


def test_holes_are_anywhere_and_elsewhere_in_the_next_step():
    method, x = inpainting(region="random"), torch.randn(300, 1, 16, 16)
    first = corners(method, x)
    assert {top for top, _ in first} == {left for _, left in first} == set(range(9))
    method(x=x)
    assert corners(method, x) == first
    method.remember()
    assert corners(method, x) != first


def test_a_right_prediction_costs_nothing_and_the_mean_costs_the_variance():
    method, x = inpainting(adversarial=0.0, overlap=0.0), torch.randn(50, 1, 16, 16)
    method.decoder = nn.Unflatten(1, (1, 8, 8))
    method.online = nn.Sequential(nn.Flatten(), nn.Linear(256, 64))
    nn.init.zeros_(method.online[1].weight), nn.init.zeros_(method.online[1].bias)
    square = x[:, :, 4:12, 4:12]
    assert method(x=x).item() == pytest.approx(square.square().mean().item(), rel=1e-5)
    with torch.no_grad():
        method.online[1].bias.copy_(square[0].flatten())
    assert method(x=x[:1]).item() == 0


def test_without_an_adversary_there_is_none():
    method = inpainting(adversarial=0.0)
    assert method.discriminator is None and not any("discriminator" in name for name in method.state_dict())


def test_the_adversary_pushes_the_two_networks_apart():
    """Against the loss of the discriminator alone: its own gradient is that one's, the decoder's is -lambda of it."""
    lam, x = 0.25, torch.randn(6, 1, 16, 16)
    method = inpainting(adversarial=lam)
    method(x=x).backward()
    gradients = {name: p.grad for name, p in method.named_parameters()}
    plain, apart = inpainting(adversarial=0.0), inpainting(adversarial=lam)
    plain.load_state_dict({k: v for k, v in method.state_dict().items() if "discriminator" not in k})
    plain(x=x).backward()
    shown = x.clone()
    shown[:, :, 5:11, 5:11] = 0
    real, made = apart.discriminator(x[:, :, 4:12, 4:12]), apart.discriminator(apart.decoder(apart.online(shown)))
    (-real.sigmoid().log().mean() - (1 - made.sigmoid()).log().mean()).backward()
    entropy = {name: p.grad for name, p in apart.named_parameters()}
    for name, p in plain.named_parameters():
        torch.testing.assert_close(gradients[name], (1 - lam) * p.grad - lam * entropy[name], atol=1e-5, rtol=1e-4)
    for name in entropy:
        if "discriminator" in name:
            torch.testing.assert_close(gradients[name], entropy[name], atol=1e-5, rtol=1e-4)


def test_a_batch_seen_twice_costs_as_much():
    method, x = inpainting(), torch.randn(5, 1, 16, 16)
    assert method(x=x.repeat(3, 1, 1, 1)).item() == pytest.approx(method(x=x).item(), rel=1e-5)


@pytest.mark.parametrize("size", [8, 9, 32, 224])
def test_images_of_any_size_have_a_hole(size):
    """A rim of a sixteenth: none of 8 pixels, 7 of 224, as in the paper."""
    method = inpainting(size, overlap=0.0625)
    assert method.side == size // 2 and method.rim == {8: 0, 9: 0, 32: 1, 224: 7}[size]
    assert method(x=torch.randn(2, 1, size, size)).isfinite()


def test_something_must_be_hidden():
    with pytest.raises(ParamsError, match=r"inpainting: an overlap of 0\.5 leaves nothing .* take \.25 or less"):
        inpainting(overlap=0.5)

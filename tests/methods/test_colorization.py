"""Colorization: the colour of each place, from lightness alone."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder
from pipeline.nets.lab import lab
from tests.contract import small_task as task

ENTRY = catalogue.find("colorization", "pretext")


def colorization(size=16, sees=("L",), channels=3, **knobs):
    torch.manual_seed(0)
    chosen = params.Encoder(args={"width": 2}, sees=list(sees))
    encoder = build_encoder(chosen, channels, size, [0.5] * channels, [0.25] * channels)
    return ENTRY.load()(encoder, **knobs).train()


def images(n, size=16, seed=0):
    """Of all colours, normalised: patches of 8 pixels, each of one colour and some noise."""
    draw = torch.Generator().manual_seed(seed)
    rgb = torch.rand(n, 3, 2, 2, generator=draw).repeat_interleave(size // 2, 2).repeat_interleave(size // 2, 3)
    return ((rgb + 0.1 * torch.rand(n, 3, size, size, generator=draw)) / 1.1 - 0.5) / 0.25


@pytest.mark.parametrize("batch", [2, 3, 17])
@pytest.mark.parametrize("knobs", [{}, {"lam": 0.2, "sigma": 3.0}, {"lam": 1.0}], ids=str)
def test_the_loss_is_the_rebalanced_cross_entropy_of_soft_bins(batch, knobs):
    method, x = colorization(**knobs), images(batch)
    lam, sigma = knobs.get("lam", 0.5), knobs.get("sigma", 5.0)
    method.palette.share.copy_(torch.rand(309).pow(4)).div_(method.palette.share.sum())
    with torch.no_grad():
        logits = method.classifier(method.online.encoder.maps(x)[-1]).double().numpy()
    bins, p = method.palette.bins.double().numpy(), method.palette.share.double().numpy()
    w = 1 / ((1 - lam) * p + lam / 309)
    w /= (w * p).sum()
    ab = lab((x * 0.25 + 0.5).double())[:, 1:].numpy().reshape(batch, 2, 2, 8, 2, 8).mean((3, 5))
    total = 0.0
    for i, h, v in np.ndindex(batch, 2, 2):
        squares = ((bins - ab[i, :, h, v]) ** 2).sum(1)
        near = np.argsort(squares)[:5]
        z = np.exp(-squares[near] / (2 * sigma**2))
        log_p = logits[i, :, h, v] - np.log(np.exp(logits[i, :, h, v]).sum())
        total -= w[near[0]] * (z / z.sum() * log_p[near]).sum()
    assert method(x=x).item() == pytest.approx(total / (4 * batch), rel=1e-4)


def test_guessing_costs_ln_q_and_a_right_answer_the_entropy_of_its_soft_bins():
    method, x = colorization(), images(4)
    nn.init.zeros_(method.classifier.weight), nn.init.zeros_(method.classifier.bias)
    assert method(x=x).item() == pytest.approx(log(309), rel=1e-5)
    z = method.palette(x, 2, 2)
    with torch.no_grad():
        method.classifier.bias.copy_((z[0] + 1e-30).log())
    one = x[:1, :, :8, :8].repeat(1, 1, 2, 2)
    assert method(x=one).item() == pytest.approx(torch.special.entr(z[0]).sum().item(), abs=1e-3)


def test_the_network_does_not_see_the_colour_that_it_predicts():
    """Images of the same lightness and other colours: the same features, other targets."""
    method, grey = colorization().eval(), images(3).mean(1, keepdim=True).mul(0.25).add(0.5).mul(0.6).add(0.2)
    level, colour = grey.expand(-1, 3, -1, -1), torch.tensor([0.15, 0.0, 0.1]).view(-1, 1, 1)
    tinted = level + colour
    low, high = torch.zeros_like(grey), torch.ones_like(grey)
    for _ in range(40):  # the grey level of the same lightness
        middle = (low + high) / 2
        darker = lab(middle.expand(-1, 3, -1, -1))[:, :1] < lab(tinted)[:, :1]
        low, high = torch.where(darker, middle, low), torch.where(darker, high, middle)
    same = high.expand(-1, 3, -1, -1)
    a, b = ((rgb - 0.5) / 0.25 for rgb in (tinted, same))
    torch.testing.assert_close(method.online(a), method.online(b), atol=1e-4, rtol=1e-4)
    assert (method.palette(a, 2, 2) - method.palette(b, 2, 2)).abs().max() > 0.2


@pytest.mark.parametrize(("channels", "sees", "says"), [(1, ["L"], "grey images"), (3, [], r"encoder.sees to \[L\]")])
def test_the_answer_must_not_be_in_the_input(channels, sees, says):
    with pytest.raises(ParamsError, match=f"colorization: .*{says}"):
        colorization(sees=sees, channels=channels)


def test_a_batch_seen_twice_costs_as_much():
    method, x = colorization(), images(5)
    assert method(x=x.repeat(3, 1, 1, 1)).item() == pytest.approx(method(x=x).item(), rel=1e-5)


def test_what_was_seen_weighs_less_from_the_next_step_on():
    method, x = colorization(), images(1).expand(4, -1, -1, -1)
    first = method(x=x)
    assert method.palette.weight(method.palette(x, 2, 2)).eq(1).all()
    method.remember()
    z = method.palette(x, 2, 2)
    torch.testing.assert_close(method.palette.share, 0.5 / 309 + 0.5 * z.mean(0))
    weights = method.palette.weight(z)
    assert weights.max() < 2 and method(x=x) != first
    assert method.palette.weight(method.palette.bins.new_ones(1, 309)).item() > 10 * weights.max()


def test_tinted_digits_have_many_colours_and_keep_their_shapes():
    """What the contract shows a method that predicts colours."""
    tinted, labels = task.digits(3)
    grey, same = task.digits()
    assert torch.equal(labels, same) and (tinted <= grey).all()
    method = task.method(ENTRY)
    said = method.palette(task.TRANSFORM(tinted), 1, 1).argmax(1)
    assert len(said.unique()) > 15

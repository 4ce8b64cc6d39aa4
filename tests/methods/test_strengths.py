"""Strong views of weak ones, as strong as the classifier can bear."""

import pytest
import torch
from torch import nn

from pipeline.methods.strengths import Given, Learned
from pipeline.views.ctaugment import BINS, NAMES
from tests.contract import small_task as task
from tests.gloo import both


def learned(cutout=True, channels=3):
    torch.manual_seed(0)
    return Learned(task.encoder(channels=channels), cutout)


def weak(n=24, channels=3):
    """Images of whole 255ths as a network sees them, and the images."""
    images = torch.randint(0, 256, (n, channels, 8, 8), generator=torch.Generator().manual_seed(n)) / 255
    return (images - 0.3) / 0.37, images


@pytest.mark.parametrize("channels", (1, 3))
def test_a_view_is_augmented_between_0_and_1(channels):
    strengths, (view, images) = learned(channels=channels), weak(channels=channels)
    (numbers,) = strengths.luck.each(strengths.augment.numbers, view)
    before, (strong,) = view.clone(), strengths(view)
    expected = strengths.augment(images.clone(), **strengths.augment.draw(numbers))
    torch.testing.assert_close(strong * 0.37 + 0.3, expected, atol=1e-5, rtol=0)
    assert torch.equal(view, before) and not strong.requires_grad
    assert ((strong - view).flatten(1).abs().amax(1) > 0.1).all(), "each image is cut out at the least"


def test_each_view_and_each_step_has_draws_of_its_own():
    strengths, (view, _) = learned(), weak()
    first, second = strengths(view, view)
    assert not torch.equal(first, second)
    assert torch.equal(strengths(view, view)[1], second)
    strengths.learn(Knowing(), view, torch.zeros(24, dtype=torch.int64))
    assert not torch.equal(strengths(view, view)[1], second)


def test_under_autocast_it_is_the_same():
    strengths, (view, _) = learned(), weak()
    (plain,) = strengths(view)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(strengths(view)[0], plain)


class Knowing(nn.Module):
    """Says that dark images are of class 0 and bright ones of class 1; keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.norm, self.shown = nn.BatchNorm2d(3), []

    def forward(self, x):
        self.shown.append((x, self.training, torch.is_grad_enabled()))
        self.norm(x)
        bright = 100 * (x.mean((1, 2, 3)) * 0.37 + 0.3 - 0.5)
        return torch.stack([-bright, bright], 1)


def test_probes_are_weak_views_of_any_strength_without_cutout_shown_to_a_network_that_does_not_learn():
    strengths, network, (view, images) = learned(), Knowing().train(), weak()
    y = torch.arange(24) % 2
    drawn = strengths.augment.draw(strengths.luck(view, *strengths.augment.numbers), probe=True)
    expected = strengths.augment(images.clone(), **drawn)
    strengths.learn(network, view, y)
    ((shown, training, gradient),) = network.shown
    torch.testing.assert_close(shown * 0.37 + 0.3, expected, atol=1e-5, rtol=0)
    assert drawn["which"].shape == (24, 2) and not training and not gradient
    assert network.training and network.norm.num_batches_tracked == 0
    untaught = learned().augment
    untaught.update(drawn["which"], drawn["level"], Knowing()(shown).softmax(1)[torch.arange(24), y])
    assert not torch.equal(untaught.rates, torch.ones(19, 17))
    torch.testing.assert_close(strengths.augment.rates, untaught.rates)


def test_an_op_that_destroys_the_class_loses_its_large_levels_and_a_harmless_one_keeps_them():
    """Inverted, dark is bright; a rotation changes neither."""
    strengths, network, draw = learned(), Knowing(), torch.Generator().manual_seed(1)
    strengths.augment.decay = 0.9
    for _ in range(40):
        y = torch.randint(2, (128,), generator=draw)
        images = 0.1 + 0.6 * y[:, None, None, None] + 0.2 * torch.rand(128, 3, 8, 8, generator=draw)
        strengths.learn(network, (images - 0.3) / 0.37, y)
    invert, sharpness = NAMES.index("invert"), NAMES.index("sharpness")
    rates = strengths.augment.rates
    assert rates[invert, 12:].max() < 0.6 < rates[sharpness].min()
    assert rates[invert, :4].min() > 0.6
    chances = strengths.augment.chances()
    assert not chances[invert, 12:].any() and chances[invert, :4].all() and chances[sharpness].all()
    assert (rates[BINS == 8, 8:] == 1).all()


def _taught(rank, world):
    torch.manual_seed(0)
    strengths, (view, _) = learned(), weak()
    mine = slice(rank * 24 // world, (rank + 1) * 24 // world)
    strong = []
    for _ in range(3):
        strong += strengths(view[mine], view[:12][rank * 12 // world : (rank + 1) * 12 // world])
        strengths.learn(Knowing(), view[mine], (torch.arange(24) % 2)[mine])
    return strong, strengths.augment.rates


@pytest.mark.slow  # two processes import torch
def test_two_processes_make_and_learn_what_one_does():
    strong, rates = _taught(0, 1)
    (first, here), (second, there) = both(_taught, 2)
    assert torch.equal(here, there)
    torch.testing.assert_close(here, rates)
    for whole, *parts in zip(strong, first, second, strict=True):
        torch.testing.assert_close(torch.cat(parts), whole)


def test_given_views_stay():
    given, (view, _) = Given(), weak()
    assert given(view)[0] is view and not given.state_dict()

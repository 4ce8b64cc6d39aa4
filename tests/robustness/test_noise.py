"""Noise has the distributions that it is named after."""

import pytest
import torch
from scipy import stats

from pipeline.robustness import noise


def test_gaussian_adds_sigma_times_a_normal_number(draws):
    images = torch.rand(4, 3, 50, 50)
    added = (noise.gaussian(images, draws(4), 0.3) - images) / 0.3
    assert stats.kstest(added.flatten().double(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("photons", [3, 60, 500])
def test_shot_is_scipys_poisson_quantile_of_the_same_uniform_numbers(draws, smooth, photons):
    images = smooth(3, 3, 32)
    images[0, 0, :2] = torch.tensor([[0], [255]])
    floats = images.float() / 255
    counts = noise.shot(floats, draws(3), photons) * photons
    u = draws(3).uniform("noise", 3, 32, 32).double()
    theirs = stats.poisson.ppf(u, images.double() / 255 * photons)
    assert (counts.round().numpy() != theirs).mean() < 1e-4  # where rounding decides a tie
    assert (counts[0, 0, 0] == 0).all()


def test_impulse_makes_black_and_white_in_equal_shares_and_in_single_channels(draws):
    images = torch.full((6, 3, 64, 64), 0.5)
    out = noise.impulse(images, draws(6), 0.2)
    n = out.numel()
    for value in (0, 1):
        share = (out == value).double().mean().item()
        assert abs(share - 0.1) < 5 * (0.1 * 0.9 / n) ** 0.5
    assert ((out != 0.5).all(1).double().mean() < 0.02) and (out[out != 0.5].unique().tolist() == [0, 1])

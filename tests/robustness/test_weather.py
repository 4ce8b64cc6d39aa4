"""Weather: what is deterministic against scikit-image and loops, what is drawn by its statistics."""

import numpy as np
import pytest
import torch
from skimage import color

from pipeline.robustness import weather
from pipeline.robustness.blur import along


@pytest.mark.parametrize("amount", [0.05, 0.3, -0.2])
def test_brightness_is_scikit_images_hsv(draws, amount):
    images = np.random.default_rng(0).random((2, 16, 16, 3))
    images[0, 0] = 0  # black has no hue
    hsv = color.rgb2hsv(images)
    hsv[..., 2] = np.clip(hsv[..., 2] + amount, 0, 1)
    ours = weather.brightness(torch.from_numpy(images).permute(0, 3, 1, 2), draws(2), amount)
    assert np.abs(ours.permute(0, 2, 3, 1).numpy() - color.hsv2rgb(hsv)).max() < 1e-12


def test_plasma_is_the_diamond_square_algorithm(draws):
    """Point by point, with the same noise."""
    side, decay = 16, 1.75
    ours = weather.plasma(draws(2), side, decay)
    points, step, w = np.zeros((2, side, side)), side, 100.0
    while step >= 2:
        half, n = step // 2, side // step

        def noise(name, n=n, w=w):
            return draws(2).uniform(f"{name} {n}", n, n, low=-(w**2), high=w**2).numpy()

        square, across, down = noise("square"), noise("across"), noise("down")
        at = range(n)
        for i in at:
            for j in at:
                y, x, below, right = i * step, j * step, (i + 1) * step % side, (j + 1) * step % side
                four = points[:, y, x] + points[:, y, right] + points[:, below, x] + points[:, below, right]
                points[:, y + half, x + half] = four / 4 + square[:, i, j]
        for i in at:
            for j in at:
                y, x, below, right = i * step, j * step, (i + 1) * step % side, (j + 1) * step % side
                over, left = (y - half) % side, (x - half) % side
                flat = points[:, y, x] + points[:, y, right] + points[:, y + half, x + half] + points[:, over, x + half]
                tall = points[:, y, x] + points[:, below, x] + points[:, y + half, x + half] + points[:, y + half, left]
                points[:, y, x + half] = flat / 4 + across[:, i, j]
                points[:, y + half, x] = tall / 4 + down[:, i, j]
        step, w = half, w / decay
    points -= points.min((1, 2), keepdims=True)
    points /= points.max((1, 2), keepdims=True)
    assert np.abs(ours.numpy() - points).max() < 1e-5


def test_fog_keeps_the_brightest_value_of_each_image_as_its_ceiling(draws):
    images = torch.rand(3, 3, 20, 20) * torch.tensor([0.2, 0.5, 1.0]).view(-1, 1, 1, 1)
    out, brightest = weather.fog(images, draws(3), 0.75, 2.5), images.amax((1, 2, 3))
    clouds = weather.plasma(draws(3), 32, 2.5)[:, None, :20, :20]
    theirs = (images + 0.75 * clouds) * (brightest / (brightest + 0.75)).view(-1, 1, 1, 1)
    assert (out - theirs).abs().max() < 1e-6 and (out.amax((1, 2, 3)) <= brightest + 1e-6).all()


def test_snow_bleaches_and_lets_flakes_fall_both_ways(draws):
    images, flakes = torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    flakes[:, :, 4, 3], flakes[:, :, 8, 8] = 2.0, 0.49  # one too large for a byte, one below the threshold
    degrees = torch.tensor([-90.0, -60.0])
    out = weather.snowed(images, flakes, degrees, 1, 0.5, 3, 2, 0.8)
    layer = torch.zeros_like(flakes)
    layer[:, :, 4, 3] = 1
    layer = along(layer, degrees, 3, 2)
    luminance = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    theirs = 0.8 * images + 0.2 * torch.maximum(images, 1.5 * luminance + 0.5) + layer + layer.flip(2, 3)
    assert (out - theirs).abs().max() < 1e-6
    assert layer[0, 0, 4:, 3].sum() > 0.99  # at -90 degrees a flake leaves its trace below it


@pytest.mark.parametrize("size", [8, 32, 224])
def test_crystals_fill_the_range_and_are_neither_blank_nor_solid(draws, size):
    ice = weather.crystals(draws(8), size, size)
    assert ice.shape == (8, 1, size, size) and ice.min() >= 0 and (ice.amax((1, 2, 3)) == 1).all()
    assert (ice.mean((1, 2, 3)) > 0.15).all() and (ice.mean((1, 2, 3)) < 0.6).all()
    assert (ice.std((1, 2, 3)) > 0.12).all()
    assert (ice[0] - ice[1]).abs().mean() > 0.1


def test_frost_is_the_image_and_ice_in_the_shares_that_it_is_told(draws):
    images = torch.rand(2, 3, 16, 16)
    ice = weather.crystals(draws(2), 16, 16) * torch.tensor([0.84, 0.92, 1.0]).view(3, 1, 1)
    assert (weather.frost(images, draws(2), 0.75, 0.45) - (0.75 * images + 0.45 * ice)).abs().max() < 1e-6

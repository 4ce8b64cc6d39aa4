"""Blur against loops in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline.robustness import blur


@pytest.mark.parametrize("radius, edge", [(0.3, 0.4), (0.5, 0.6), (1.5, 0.1), (3, 0.1), (10, 0.5)])
@pytest.mark.parametrize("size", [8, 32])
def test_defocus_is_scipys_convolution_with_the_authors_disk(draws, radius, edge, size):
    reach = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    kernel = ((reach[:, None] ** 2 + reach**2) <= radius**2).astype(float)
    kernel /= kernel.sum()
    taps = np.exp(-((np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)).astype(float) ** 2) / (2 * edge**2))
    taps /= taps.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, taps, axis, mode="mirror")
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    theirs = ndimage.correlate(images.numpy(), kernel[None, None], mode="mirror")
    assert np.abs(blur.defocus(images, draws(2), radius, edge).numpy() - theirs).max() < 1e-12


@pytest.mark.parametrize("reach", [1, 2, 4])
@pytest.mark.parametrize("height, width", [(8, 8), (24, 31)])
def test_glass_takes_colours_one_pixel_after_the_other(draws, reach, height, width):
    integers = draws(3).integers("turn 0", 2, height, width)
    offset = ((integers >> 8).remainder(2 * reach) - reach).numpy()
    assert offset.min() == -reach and offset.max() == reach - 1
    ours = blur.taken(integers, reach).numpy()
    for i in range(3):
        pixels = np.arange(height * width).reshape(height, width)
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                pixels[y, x] = pixels[y + offset[i, 0, y, x], x + offset[i, 1, y, x]]
        assert (pixels == ours[i]).all()


def test_glass_blurs_before_and_after_and_keeps_the_channels_of_a_pixel_together(draws):
    images = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    out = blur.glass(images.expand(-1, 3, -1, -1), draws(2), 0.4, 1, 2)
    assert (out[:, :1] == out).all()
    flat = torch.full((2, 3, 16, 16), 0.25)
    assert (blur.glass(flat, draws(2), 1.5, 2, 1) - 0.25).abs().max() < 1e-6
    before = torch.stack([blur.taken(draws(2).integers(f"turn {t}", 2, 16, 16), 1).flatten(1) for t in range(2)])
    once = blur.gaussian(images, 0.4).flatten(1)
    twice = once.gather(1, before[0]).gather(1, before[1]).view_as(images)
    assert (blur.gaussian(twice, 0.4) - out[:, :1]).abs().max() < 1e-12


@pytest.mark.parametrize("degrees", [0.0, 17.0, -45.0, 90.0, -135.0])
def test_motion_is_a_half_gaussian_of_whole_pixels_along_the_angle(degrees):
    images = torch.rand(1, 2, 9, 12, dtype=torch.float64)
    ours = blur.along(images, torch.tensor([degrees]), radius=3, sigma=2.0)
    weights = np.exp(-(np.arange(7.0) ** 2) / 8)
    weights /= weights.sum()
    theirs = np.zeros((2, 9, 12))
    for tap, weight in enumerate(weights):
        right = math.ceil(tap * math.cos(math.radians(degrees)) - 0.5)
        down = math.ceil(tap * math.sin(math.radians(degrees)) - 0.5)
        for y in range(9):
            for x in range(12):
                theirs[:, y, x] += weight * images[0, :, min(max(y + down, 0), 8), min(max(x + right, 0), 11)].numpy()
    assert np.abs(ours[0].numpy() - theirs).max() < 1e-12


def test_motion_turns_each_image_by_its_own_angle(draws):
    images = torch.rand(5, 1, 16, 16)
    assert (blur.motion(images, draws(5), 6, 2)[3:4] == blur.motion(images[3:4], draws(5)[3:4], 6, 2)).all()
    angles = draws(5000).uniform("angle", low=-45, high=45)
    assert abs(angles.mean().item()) < 2 and angles.abs().max() < 45


def test_zoom_is_the_mean_of_the_image_and_of_its_enlargements(draws):
    images = np.random.default_rng(0).random((2, 3, 32, 32))
    theirs, factors = images.copy(), np.arange(1, 1.16, 0.01)
    for factor in factors:
        kept = int(np.ceil(32 / factor))
        first = (32 - kept) // 2
        middle = images[:, :, first : first + kept, first : first + kept]
        large = ndimage.zoom(middle, (1, 1, factor, factor), order=1)
        trim = (large.shape[2] - 32) // 2
        theirs += large[:, :, trim : trim + 32, trim : trim + 32]
    theirs /= len(factors) + 1
    assert np.abs(blur.zoom(torch.from_numpy(images), draws(2), 1.16, 0.01).numpy() - theirs).max() < 1e-12

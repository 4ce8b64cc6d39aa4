"""Contrast, elastic and pixelate against numpy, scipy and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from pipeline.robustness import digital


def test_contrast_scales_about_the_mean_of_each_channel(draws):
    images = torch.rand(3, 3, 9, 9, dtype=torch.float64)
    out = digital.contrast(images, draws(3), 0.3)
    assert (out.mean((2, 3)) - images.mean((2, 3))).abs().max() < 1e-12
    assert (out.std((2, 3)) - 0.3 * images.std((2, 3))).abs().max() < 1e-12


@pytest.mark.parametrize("size, factor", [(32, 0.95), (32, 0.65), (64, 0.25), (8, 0.75)])
def test_pixelate_is_pillows(draws, smooth, size, factor):
    images = smooth(3, 3, size)
    ours = digital.pixelate(images.double() / 255, draws(3), factor) * 255
    for image, made in zip(images, ours, strict=True):
        small = int(size * factor)
        theirs = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((small, small), Image.Resampling.BOX)
        theirs = np.asarray(theirs.resize((size, size), Image.Resampling.BOX), np.float64)
        assert np.abs(made.permute(1, 2, 0).numpy() - theirs).max() <= 1.01  # Pillow rounds to bytes twice per pass


@pytest.mark.parametrize("reach, sigma, affine", [(0, 0, 0.08), (0.1, 0.04, 0.05), (2.0, 0.7, 0.1)])
def test_elastic_is_scipys_map_coordinates_of_the_same_fields(draws, reach, sigma, affine):
    n, size = 2, 20
    images = torch.rand(n, 3, size, size)
    ours = digital.elastic(images, draws(n), reach, sigma, affine).numpy()
    corners = 10 + 6 * np.array([[1.0, 1], [1, -1], [-1, -1]])
    moved = corners + draws(n).uniform("corners", 3, 2, low=-affine * size, high=affine * size).double().numpy()
    field = draws(n).uniform("field", 2, size, size, low=-1, high=1).double().numpy()
    y, x = np.mgrid[:size, :size].astype(float)
    for i in range(n):
        back = np.linalg.solve(np.c_[moved[i], np.ones(3)], corners)  # (x, y, 1) of the output -> (x, y) of the input
        at = np.stack([x, y, np.ones_like(x)], 2) @ back
        smooth = [ndimage.gaussian_filter(part, sigma * size, mode="reflect", truncate=3) for part in field[i]]
        for c in range(3):
            image = ndimage.map_coordinates(images[i, c].double().numpy(), (at[..., 1], at[..., 0]), None, 1, "mirror")
            if reach:
                moves = (y + smooth[1] * reach * size, x + smooth[0] * reach * size)
                image = ndimage.map_coordinates(image, moves, None, 1, "reflect")
            assert np.abs(ours[i, c] - image).max() < 2e-4

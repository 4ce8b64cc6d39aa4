"""Each matrix against the library that defines the map, in fp64."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from pipeline.robustness import lines

rng = np.random.default_rng(0)


@pytest.mark.parametrize("border", ["nearest", "reflect"])
@pytest.mark.parametrize("sigma, truncate", [(0.05, 4.0), (0.4, 4.0), (1.5, 4.0), (20.0, 3.0)])
@pytest.mark.parametrize("full", [8, 33])
def test_gaussian_is_scipys(border, sigma, truncate, full):
    line = rng.random(full)
    theirs = ndimage.gaussian_filter1d(line, sigma, mode=border, truncate=truncate)
    assert np.abs(lines.gaussian(sigma, full, border, truncate).numpy() @ line - theirs).max() < 1e-12


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.1, 1.25, 1.75, 2.5, 4.5])
@pytest.mark.parametrize("full", [8, 32, 75])
def test_zoom_is_the_middle_of_scipys(factor, full):
    line = rng.random(full)
    kept = int(np.ceil(full / factor))
    first = (full - kept) // 2
    theirs = ndimage.zoom(line[first : first + kept], factor, order=1)
    trim = (len(theirs) - full) // 2
    ours = lines.zoom(factor, full).numpy() @ line
    assert np.abs(ours - theirs[trim : trim + full]).max() < 1e-12


@pytest.mark.parametrize("full, size", [(32, 30), (32, 20), (32, 9), (8, 7), (224, 56), (20, 32)])
def test_box_is_pillows(full, size):
    line = rng.random(full).astype(np.float32)
    theirs = np.asarray(Image.fromarray(line[None]).resize((size, 1), Image.Resampling.BOX))[0]
    assert np.abs(lines.box(size, full).numpy() @ line - theirs).max() < 1e-6


def test_rows_and_columns_are_not_mixed_up():
    images = torch.rand(2, 3, 4, 6, dtype=torch.float64)
    blurred = lines.along_both(images, lambda full: lines.gaussian(0.5 if full == 4 else 2.0, full, "nearest"))
    theirs = ndimage.gaussian_filter(images.numpy(), (0, 0, 0.5, 2.0), mode="nearest")
    assert np.abs(blurred.numpy() - theirs).max() < 1e-12

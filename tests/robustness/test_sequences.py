"""Frames of perturbations, and flips counted by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as T
from torchvision.transforms.functional import InterpolationMode

from pipeline.robustness.error import alexnet
from pipeline.robustness.sequences import flips, frames, mean_flip_rate, tilted
from pipeline.robustness.severities import PERTURBATIONS

COUNTS = {"motion_blur": 21, "translate": 16}


def test_noise_is_compared_with_the_first_frame_and_the_rest_with_the_frame_before():
    guesses = torch.tensor([[1, 2, 2, 2, 1], [3, 3, 3, 3, 3]])
    assert flips(guesses, noise=True) == pytest.approx(3 / 8)
    assert flips(guesses, noise=False) == pytest.approx(2 / 8)


def test_alexnet_has_100_and_nothing_may_be_missing():
    base = alexnet()["perturbations"]["flips"]
    assert set(base) == set(PERTURBATIONS)
    assert mean_flip_rate(base) == pytest.approx(100)
    doubled = base | {"tilt": 2 * base["tilt"]}
    assert mean_flip_rate(dict(reversed(doubled.items()))) == pytest.approx(110)
    with pytest.raises(ValueError, match="all 10"):
        mean_flip_rate({name: base[name] for name in PERTURBATIONS[1:]})


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_frames_are_bytes_and_the_same_in_any_batch(draws, smooth, name):
    images = smooth(3, 1, 16)
    made = list(frames(name, images, draws(3)))
    assert len(made) == COUNTS.get(name, 31)
    alone = list(frames(name, images[1:2], draws(3)[1:2]))
    for frame, one in zip(made, alone, strict=True):
        assert frame.dtype == torch.uint8 and frame.shape == images.shape
        assert (frame[1:2].int() - one.int()).abs().max() <= 1
    assert sum((a != b).any().item() for a, b in pairwise(made)) > len(made) / 2


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "zoom_blur", "translate", "rotate", "brightness"])
def test_the_frame_that_changes_nothing_is_the_image(draws, smooth, name):
    images = smooth(2, 3, 32)
    still = {"translate": 7, "rotate": 15, "brightness": 15}.get(name, 0)
    frame = list(frames(name, images, draws(2)))[still]
    assert (frame.int() - images.int()).abs().max() <= 1


def test_rotate_and_translate_turn_and_move_as_torchvision_does(draws, smooth):
    images = smooth(2, 3, 32)
    turned = list(frames("rotate", images, draws(2)))[25]  # 10 degrees
    theirs = T.affine(images.float(), 10, [0, 0], 1.0, [0.0], InterpolationMode.BILINEAR)
    assert (turned - theirs).abs().max() < 1.01
    moved = list(frames("translate", images, draws(2)))[10]  # 3 pixels to the right
    assert (moved == T.affine(images, 0, [3, 0], 1.0, [0.0])).all()
    small = list(frames("scale", images, draws(2)))[5]  # 0.8
    theirs = T.affine(images.float(), 0, [0, 0], 0.8, [0.0], InterpolationMode.BILINEAR)
    assert (small - theirs).abs().max() < 1.01


def test_tilt_is_a_plane_in_perspective():
    """A single bright pixel lands where the pinhole camera says, to within bilinear interpolation."""
    size, angle = 41, math.radians(12)
    images = torch.zeros(1, 1, size, size)
    images[0, 0, 12, 30] = 1
    out = tilted(images, angle)[0, 0].numpy()
    f, c, s = math.hypot(size, size), math.cos(angle), math.sin(angle)
    about_x, about_y = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    x, y, z = about_x @ about_y @ np.array([30 - size / 2, 12 - size / 2, 1])
    there = (f * y / (z + f) + size / 2, f * x / (z + f) + size / 2)
    rows, columns = np.mgrid[:size, :size]
    found = ((out * rows).sum() / out.sum(), (out * columns).sum() / out.sum())
    assert np.abs(np.subtract(there, found)).max() < 0.3 and np.abs(np.subtract(there, (12, 30))).max() > 0.5

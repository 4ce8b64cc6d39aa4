"""Perturbation sequences and how often a prediction flips along them (Hendrycks and Dietterich 2019, arXiv:1903.12261).

The constants are those of the authors' generators of ImageNet-P and, up to 64 pixels, of CIFAR-10-P. Theirs of
ImageNet are cut from a larger image, so that moved ones show what lies beyond the border; here that is black.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.robustness import noise
from pipeline.robustness.blur import along
from pipeline.robustness.corruptions import to_bytes
from pipeline.robustness.draws import Draws
from pipeline.robustness.error import alexnet
from pipeline.robustness.severities import PERTURBATIONS, SMALL_SIDE
from pipeline.robustness.weather import brightness, snowed
from pipeline.views.warp import inverse_affine, warp


def frames(name: str, images: Tensor, draws: Draws) -> Iterator[Tensor]:
    """The frames of perturbation `name`, each uint8 (B, C, H, W); images uint8, `draws` one stream for each of them."""
    floats, small = images.float() / 255, min(images.shape[2:]) <= SMALL_SIDE
    for frame in _MAKERS[name](floats, draws.purpose("sequence", name), small):
        yield to_bytes(frame)


def flips(guesses: Tensor, noise: bool) -> float:
    """Flip probability of guesses (N, frames): the share of frames called otherwise than the first frame (of noise,
    whose frames have no order), or otherwise than the frame before."""
    return (guesses[:, 1:] != (guesses[:, :1] if noise else guesses[:, :-1])).float().mean().item()


def mean_flip_rate(found: Mapping[str, float]) -> float:
    """mFR: mean over all ten of FP_p / FP_p(AlexNet), times 100. Raises ValueError where one is missing."""
    if set(found) != set(PERTURBATIONS):
        raise ValueError("mFR is of all 10 perturbations; call the mean of fewer a mean flip probability")
    base = alexnet()["perturbations"]["flips"]
    return 100 * fmean(found[name] / base[name] for name in PERTURBATIONS)


def _gaussian_noise(images: Tensor, draws: Draws, small: bool) -> Iterator[Tensor]:
    yield images
    for i in range(1, 31):
        yield noise.gaussian(images, draws.purpose(i), 0.02 if small else 0.03)


def _shot_noise(images: Tensor, draws: Draws, small: bool) -> Iterator[Tensor]:
    yield images
    for i in range(1, 31):
        yield noise.shot(images, draws.purpose(i), 700 if small else 300)


def _motion_blur(images: Tensor, _: Draws, small: bool) -> Iterator[Tensor]:
    radius, sigma, count, degrees = (6, 1.8, 21, 9) if small else (10, 3, 31, 4)
    for i in range(count):
        yield along(images, images.new_full((len(images),), (i + 1 - count) * degrees), radius, sigma)


def _zoom_blur(images: Tensor, _: Draws, small: bool) -> Iterator[Tensor]:
    total = torch.zeros_like(images)
    for i in range(31):
        total = total + _turned(images, scale=1 + 0.004 * i)
        yield total / (i + 1)


def _snow(images: Tensor, draws: Draws, small: bool) -> Iterator[Tensor]:
    flakes = 0.05 + 0.3 * draws.normal("flakes", 1, *images.shape[2:])
    zoom, radius, sigma = (2, 10, 2) if small else (3, 14, 4)
    for i in range(31):
        yield snowed(images, flakes, images.new_full((len(images),), 4 * i - 150), zoom, 0.5, radius, sigma, 0.85)


def _brightness(images: Tensor, draws: Draws, small: bool) -> Iterator[Tensor]:
    for i in range(-15, 16):
        yield brightness(images, draws, i * (0.015 if small else 0.02))


def _translate(images: Tensor, _: Draws, small: bool) -> Iterator[Tensor]:
    for right in range(-7, 9) if small else range(-20, 21):
        inverse = images.new_tensor([[1, 0, -right], [0, 1, 0]])
        yield warp(images, inverse.expand(len(images), 2, 3), "nearest")


def _rotate(images: Tensor, _: Draws, small: bool) -> Iterator[Tensor]:
    for degrees in range(-15, 16):
        yield _turned(images, degrees=degrees)


def _scale(images: Tensor, _: Draws, small: bool) -> Iterator[Tensor]:
    for i in range(31):
        yield _turned(images, scale=(70 + 2 * i if small else 40 + 2.5 * i) / 100)


def _turned(images: Tensor, degrees: float = 0.0, scale: float = 1.0) -> Tensor:
    each = partial(images.new_full, (len(images),))
    still = images.new_zeros(len(images), 2)
    return warp(images, inverse_affine(each(math.radians(degrees)), still, each(scale), still, still), "bilinear")


def _tilt(images: Tensor, _: Draws, small: bool) -> Iterator[Tensor]:
    for i in range(-15, 16):
        yield tilted(images, math.radians(0.75 * i if small else i))


def tilted(images: Tensor, angle: float) -> Tensor:
    """The image as a plane turned by `angle` about its horizontal and its vertical axis, seen from as far away as its
    diagonal is long: (x, y, 1) from the middle goes to f (R p)_xy / ((R p)_z + f)."""
    height, width = images.shape[2:]
    f, c, s = math.hypot(height, width), math.cos(angle), math.sin(angle)
    about_x = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)
    about_y = torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float64)
    away = torch.tensor([f, f, 1.0], dtype=torch.float64).diag() @ (
        about_x @ about_y + torch.diag(about_x.new_tensor([0, 0, f]))
    )
    x, y = torch.arange(width) - width / 2, torch.arange(height) - height / 2
    points = F.pad(torch.stack(torch.meshgrid(x, y, indexing="xy"), 2).double(), (0, 1), value=1)
    source = points @ torch.linalg.inv(away).mT
    middle = source.new_tensor([width / 2, height / 2])
    grid = (2 * (source[..., :2] / source[..., 2:] + middle) + 1) / (2 * middle) - 1
    return F.grid_sample(images, grid.to(images).expand(len(images), -1, -1, -1), align_corners=False)


_MAKERS = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "brightness": _brightness,
    "translate": _translate,
    "rotate": _rotate,
    "tilt": _tilt,
    "scale": _scale,
}
assert tuple(_MAKERS) == PERTURBATIONS

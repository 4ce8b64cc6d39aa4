"""RandAugment: Cubuk et al. 2019, arXiv:1909.13719."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pipeline.views import colour
from pipeline.views.ops.op import Op, chance, in_turns, unchanged
from pipeline.views.ranges import Count, Magnitude, Share
from pipeline.views.warp import warp


@dataclass
class RandAugment(Op):
    """`n` ops of the paper's 14 at magnitude `m` of 10, each done with probability `p`; with `m_min` the magnitude is a
    whole number drawn from m_min..m for each sample and op, as FixMatch does."""

    n: Count
    m: Magnitude
    p: Share = 1.0
    m_min: Magnitude | None = None

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        low = self.m if self.m_min is None else self.m_min
        sign = torch.randint(0, 2, (n, self.n), generator=generator) * 2 - 1
        return {
            "chosen": chance(n * self.n, self.p, generator).view(n, self.n),
            "which": torch.randint(len(OPS), (n, self.n), generator=generator),
            "level": torch.randint(low, self.m + 1, (n, self.n), generator=generator) / 10,
            "sign": sign.float(),
        }

    def apply(self, images: Tensor, chosen: Tensor, which: Tensor, level: Tensor, sign: Tensor) -> Tensor:
        return in_turns(images, which.masked_fill(~chosen, 0), list(OPS.values()), level, sign)


def _factor(adjust: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda images, level, sign: adjust(images, 1 + 0.9 * sign * level)


def _move(images: Tensor, *inverse: Tensor | float) -> Tensor:
    """Output pixel (x, y), from the middle, is the input at (a x + b y + c, d x + e y + f); black beyond the image."""
    batch = images.new_zeros(len(images))
    return warp(images, torch.stack([batch + entry for entry in inverse], 1).view(-1, 2, 3), "nearest")


def _rotate(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    angle = (30 * sign * level).deg2rad()
    return _move(images, angle.cos(), -angle.sin(), 0, angle.sin(), angle.cos(), 0)


def _shear_x(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    slope = 0.3 * sign * level
    return _move(images, 1, slope, slope * images.shape[2] / 2, 0, 1, 0)  # the upper row stays


def _shear_y(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    slope = 0.3 * sign * level
    return _move(images, 1, 0, 0, slope, 1, slope * images.shape[3] / 2)  # the left column stays


def _translate_x(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _move(images, 1, 0, -(REACH * images.shape[3] * sign * level).trunc(), 0, 1, 0)


def _translate_y(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _move(images, 1, 0, 0, 0, 1, -(REACH * images.shape[2] * sign * level).trunc())


REACH = 150 / 331  # of the side: the paper's 150 pixels at its image size
# each: (images, level in [0, 1] = magnitude / 10, sign of -1 or 1) -> images
OPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "identity": unchanged,
    "autocontrast": lambda images, level, sign: colour.autocontrast(images),
    "equalize": lambda images, level, sign: colour.equalize(images),
    "rotate": _rotate,
    "solarize": lambda images, level, sign: colour.solarize(images, 1 - level),
    "color": _factor(colour.saturation),
    "posterize": lambda images, level, sign: colour.posterize(images, (8 - 4 * level).round()),
    "contrast": _factor(colour.contrast),
    "brightness": _factor(colour.brightness),
    "sharpness": _factor(colour.sharpness),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}

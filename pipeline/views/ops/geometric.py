"""Ops that move pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pipeline.views.ops.op import Op, chance, inside, rectangles, uniform, where
from pipeline.views.ranges import Degrees, Scale, Share, Side, Tilt
from pipeline.views.warp import inverse_affine, reflected, resampling, separable, warp


@dataclass
class Plain(Op):
    """The image as it is."""

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        return {}

    def apply(self, images: Tensor) -> Tensor:
        return images


@dataclass
class Crop(Op):
    """A rectangle of a random share of the area and a random aspect ratio, resized to `size`."""

    min: Share = 0.08
    max: Share = 1.0
    ratio_min: Scale = 3 / 4
    ratio_max: Scale = 4 / 3
    size: Side = 1.0

    def pixels(self, full: int) -> int:
        return round(self.size * full) if self.size <= 1 else round(self.size)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        areas, ratios = (self.min, self.max), (self.ratio_min, self.ratio_max)
        sides, start, fits = rectangles(
            n, height, width, areas, ratios, generator, lambda sides, image: (sides > 0) & (sides <= image)
        )
        # where none does: the largest central crop with an aspect ratio that is allowed
        whole = torch.tensor([min(height, round(width / self.ratio_min)), min(width, round(height * self.ratio_max))])
        middle = ((torch.tensor([height, width]) - whole) / 2).floor()
        sides, start = (torch.where(fits[:, None], one, other) for one, other in ((sides, whole), (start, middle)))
        return {"start": start, "sides": sides}

    def apply(self, images: Tensor, start: Tensor, sides: Tensor) -> Tensor:
        height, width = images.shape[2:]
        size = self.pixels(height)
        rows = resampling(start[:, 0], sides[:, 0], height, size)
        columns = resampling(start[:, 1], sides[:, 1], width, size)
        return separable(images, rows, columns)


@dataclass
class Flip(Op):
    """Mirror left to right."""

    p: Share = 0.5

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        return {"flip": chance(n, self.p, generator)}

    def apply(self, images: Tensor, flip: Tensor) -> Tensor:
        return where(flip, images, lambda chosen: chosen.flip(3))


@dataclass
class Shift(Op):
    """Move by up to `share` of the side, in whole pixels; what comes in is the reflection."""

    share: Share = 0.125

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        y, x = round(self.share * height), round(self.share * width)
        return {
            "down": torch.randint(-y, y + 1, (n,), generator=generator),
            "right": torch.randint(-x, x + 1, (n,), generator=generator),
        }

    def apply(self, images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows = reflected(torch.arange(height, device=down.device) - down.view(-1, 1), height)
        columns = reflected(torch.arange(width, device=right.device) - right.view(-1, 1), width)
        identity = [torch.eye(full, device=images.device) for full in (height, width)]
        return separable(images, identity[0][rows], identity[1][columns])  # products with 0 and 1: exact


@dataclass
class Cutout(Op):
    """A grey square of side `share` * size about a random pixel, cut off at the border (arXiv:1708.04552)."""

    share: Share

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        return {
            "y": torch.randint(height, (n,), generator=generator),
            "x": torch.randint(width, (n,), generator=generator),
        }

    def apply(self, images: Tensor, y: Tensor, x: Tensor) -> Tensor:
        height, width = images.shape[2:]
        down, right = round(self.share * height), round(self.share * width)
        start = torch.stack([y - down // 2, x - right // 2], 1)
        return images.masked_fill_(inside(start, start.new_tensor([[down, right]]), height, width), 0.5)


@dataclass
class Affine(Op):
    """Turn, shift, scale and shear about the centre, each within +-; bilinear, black beyond the image."""

    degrees: Degrees = 0.0
    translate: Share = 0.0
    scale_min: Scale = 1.0
    scale_max: Scale = 1.0
    shear: Tilt = 0.0

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        reach = torch.tensor([self.translate * width, self.translate * height])
        return {
            "angle": uniform(n, -self.degrees, self.degrees, generator),
            "shift": ((torch.rand(n, 2, generator=generator) * 2 - 1) * reach).round(),
            "scale": uniform(n, self.scale_min, self.scale_max, generator),
            "shear": uniform(n, -self.shear, self.shear, generator),
        }

    def apply(self, images: Tensor, angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
        along_x = torch.stack([shear, torch.zeros_like(shear)], 1).deg2rad()
        inverse = inverse_affine(angle.deg2rad(), shift, scale, along_x, torch.zeros_like(shift))
        return warp(images, inverse, "bilinear")

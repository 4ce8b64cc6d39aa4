"""An op that hides a part of the image behind noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pipeline.streams import numbers
from pipeline.views.ops.op import Op, chance, inside, rectangles, where
from pipeline.views.ranges import Scale, Share


@dataclass
class Erase(Op):
    """Noise in each pixel and channel of a rectangle that lies inside the image, of a random share of its area and a
    random aspect ratio (arXiv:1708.04896)."""

    p: Share
    min: Share = 0.02
    max: Share = 1 / 3
    ratio_min: Scale = 0.3
    ratio_max: Scale = 10 / 3

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        areas, ratios = (self.min, self.max), (self.ratio_min, self.ratio_max)
        sides, start, fits = rectangles(n, height, width, areas, ratios, generator, torch.less)
        seed = torch.randint(2**62, (n,), generator=generator)
        return {"chosen": chance(n, self.p, generator) & fits, "start": start, "sides": sides, "seed": seed}

    def apply(self, images: Tensor, chosen: Tensor, start: Tensor, sides: Tensor, seed: Tensor) -> Tensor:
        def erased(some: Tensor, start: Tensor, sides: Tensor, seed: Tensor) -> Tensor:
            hole = inside(start, sides, some.shape[2], some.shape[3])
            return torch.where(hole, noise(seed, some.shape[1:]), some)

        return where(chosen, images, erased, start, sides, seed)


def noise(seed: Tensor, shape: torch.Size) -> Tensor:
    """Uniform in [0, 1), (n, *shape): numbers of each sample's own seed, the same on every device and for any n.

    To draw them on the CPU beforehand would be to draw and to send a number for every pixel of the batch.
    """
    bits = (numbers(seed, math.prod(shape)) >> 40) & (2**24 - 1)
    return (bits.float() / 2**24).view(-1, *shape)

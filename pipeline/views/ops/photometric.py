"""Ops that change colours, or blur."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pipeline.views import colour
from pipeline.views.ops.op import Op, chance, in_turns, unchanged, uniform, where
from pipeline.views.ranges import Scale, Share, Strength, Turn
from pipeline.views.warp import blurring, separable


@dataclass
class Jitter(Op):
    """Brightness, contrast, saturation, hue, in a random order; the first is the default of the next two, a quarter of
    it that of hue."""

    brightness: Strength
    contrast: Strength | None = None
    saturation: Strength | None = None
    hue: Turn | None = None
    p: Share = 0.8

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        contrast = self.brightness if self.contrast is None else self.contrast
        saturation = self.brightness if self.saturation is None else self.saturation
        hue = self.brightness / 4 if self.hue is None else self.hue
        factors = [uniform(n, max(0, 1 - s), 1 + s, generator) for s in (self.brightness, contrast, saturation)]
        return {
            "chosen": chance(n, self.p, generator),
            "order": torch.rand(n, 4, generator=generator).argsort(1),
            "amounts": torch.stack([*factors, uniform(n, -hue, hue, generator)], 1),
        }

    def apply(self, images: Tensor, chosen: Tensor, order: Tensor, amounts: Tensor) -> Tensor:
        adjust = (unchanged, colour.brightness, colour.contrast, colour.saturation, colour.hue)
        choice = (order + 1).masked_fill(~chosen.unsqueeze(1), 0)
        return in_turns(images, choice, adjust, amounts.gather(1, order))


@dataclass
class Grey(Op):
    """All colours to their luminance, in every channel."""

    p: Share

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        return {"chosen": chance(n, self.p, generator)}

    def apply(self, images: Tensor, chosen: Tensor) -> Tensor:
        return where(chosen, images, lambda some: colour.grey(some).expand_as(some))


@dataclass
class Blur(Op):
    """Gaussian blur; the kernel is a tenth of the side, odd, at least 3."""

    p: Share
    sigma_min: Scale = 0.1
    sigma_max: Scale = 2.0

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        return {"chosen": chance(n, self.p, generator), "sigma": uniform(n, self.sigma_min, self.sigma_max, generator)}

    def apply(self, images: Tensor, chosen: Tensor, sigma: Tensor) -> Tensor:
        def blurred(some: Tensor, width: Tensor) -> Tensor:
            rows, columns = (blurring(width, max(3, full // 10 // 2 * 2 + 1), full) for full in some.shape[2:])
            return separable(some, rows, columns)

        return where(chosen, images, blurred, sigma)


@dataclass
class Solarize(Op):
    """Invert what is at or above the threshold."""

    p: Share
    threshold: Share = 0.5

    def draw(self, n: int, height: int, width: int, generator: Generator) -> dict[str, Tensor]:
        return {"chosen": chance(n, self.p, generator)}

    def apply(self, images: Tensor, chosen: Tensor) -> Tensor:
        return where(chosen, images, lambda some: torch.where(some >= self.threshold, 1 - some, some))

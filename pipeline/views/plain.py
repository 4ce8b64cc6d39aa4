"""An image as it is, for a network that is used: nothing random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.views.normalise import Normalise
from pipeline.views.warp import resize


@dataclass(frozen=True)
class Plain:
    """The whole image at the `size` that the network learned from; mean, std: of each channel, on [0, 1]."""

    size: int
    mean: Sequence[float]
    std: Sequence[float]

    @classmethod
    def of(cls, about: dict) -> Plain:
        """What the model of that `about` (model.json) is shown."""
        return cls(about["size"], about["mean"], about["std"])

    def __call__(self, images: Tensor) -> Tensor:
        """uint8, or float in [0, 1]: (B, C, H, W) -> float32 (B, C, size, size)."""
        if images.shape[2:] != (self.size, self.size):
            pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
            images = resize(pixels / 255 if images.dtype == torch.uint8 else pixels, self.size)
        return Normalise(self.mean, self.std)(images)

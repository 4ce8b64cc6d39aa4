"""What every network sees in the end: zero mean and unit variance over the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / std for each channel; mean, std: of images in [0, 1]. Its text is what a sidecar says of it."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8, or float in [0, 1]: (B, C, H, W) -> float32 of the same shape."""
        scaled = images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images
        return (scaled - scaled.new_tensor(self.mean).view(-1, 1, 1)) / scaled.new_tensor(self.std).view(-1, 1, 1)

    def __str__(self) -> str:
        return f"uint8 / 255, minus {list(self.mean)}, over {list(self.std)}"

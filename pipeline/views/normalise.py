"""What every network sees in the end: zero mean and unit variance over the training images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8, or float in [0, 1]: (B, C, H, W) -> float32 of the same shape. mean, std: of each channel, on [0, 1]."""
    scaled = images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images
    return (scaled - scaled.new_tensor(mean).view(-1, 1, 1)) / scaled.new_tensor(std).view(-1, 1, 1)

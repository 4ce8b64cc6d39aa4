"""RGB to CIE Lab, on fixed ranges, and the edges of its lightness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""X, Y, Z of linear sRGB"""
WHITE = (0.95047, 1.0, 1.08883)
"""D65, seen from 2 degrees"""
LOW, HIGH = (0.0, -86.183, -107.857), (100.0, 98.233, 94.478)
"""of L, a, b over all sRGB colours: what CMC (arXiv:1906.05849) scales to -1 and 1, the same for every batch"""


def lab(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1], (B, 3, H, W) -> CIE Lab under D65, L in [0, 100]: the constants of scikit-image.

    Both powers start above 0, so that the gradient is finite at black too.
    """
    linear = torch.where(rgb > 0.04045, ((rgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    shares = rgb.new_tensor(XYZ) / rgb.new_tensor(WHITE)[:, None]
    t = (linear[:, None] * shares[:, :, None, None]).sum(2)  # no matrix product: it may be TF32
    x, y, z = torch.where(t > 0.008856, t.clamp_min(0.008856) ** (1 / 3), 7.787 * t + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def scaled_lab(rgb: Tensor) -> Tensor:
    """The same, each channel from its fixed range to [-1, 1]."""
    low, high = (rgb.new_tensor(bound).view(-1, 1, 1) for bound in (LOW, HIGH))
    return (2 * lab(rgb) - low - high) / (high - low)


def edges(lightness: Tensor) -> Tensor:
    """Slopes of (B, 1, H, W) along x and along y by Sobel's filter over 8, (B, 2, H, W); flat beyond the border."""
    padded = F.pad(lightness, (1, 1, 1, 1), mode="replicate")
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    y = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return torch.cat([x, y], 1) / 8

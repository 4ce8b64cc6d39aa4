"""Squares of images, each image with its own."""

from __future__ import annotations

import torch
from torch import Tensor


def cut_squares(images: Tensor, corner: Tensor, side: int) -> Tensor:
    """(B, C, H, W) -> (B, C, side, side); corner: (B, 2), how far down and right the upper left pixel is."""
    y, x = (corner[..., None] + torch.arange(side, device=images.device)).unbind(1)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return images[which, :, y[:, :, None], x[:, None, :]].movedim(-1, 1)


def in_squares(images: Tensor, corner: Tensor, side: int) -> Tensor:
    """Which pixels of (B, C, H, W) those are: (B, 1, H, W)."""
    down = torch.arange(images.shape[2], device=images.device) - corner[:, :1]
    right = torch.arange(images.shape[3], device=images.device) - corner[:, 1:]
    rows, columns = ((off >= 0) & (off < side) for off in (down, right))
    return (rows[:, :, None] & columns[:, None, :])[:, None]

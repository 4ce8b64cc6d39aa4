"""Moving the pixels of a batch (B, C, H, W), a map of its own for each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columns^T for each channel: (B, C, H, W), (B, S, H), (B, T, W) -> (B, C, S, T)."""
    batch, channels, height, width = images.shape
    across = torch.bmm(images.reshape(batch, channels * height, width), columns.transpose(1, 2))
    across = across.view(batch, channels, height, -1)
    return torch.stack([torch.bmm(rows, channel) for channel in across.unbind(1)], 1)


def resampling(start: Tensor, length: Tensor, full: int, size: int) -> Tensor:
    """The matrices (B, size, full) that resize the pixels [start, start + length) of a line of `full` to `size`.

    Row i is a triangle around the centre of output pixel i, as wide as one output pixel (never less than one input
    pixel), cut off at the ends of the crop and normalised: bilinear interpolation with antialiasing, as Pillow's.
    """
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    scale = length / size
    width = scale.clamp(min=1)
    centre = (torch.arange(size, device=start.device).view(1, -1, 1) + 0.5) * scale
    pixel = torch.arange(full, device=start.device).view(1, 1, -1) - start
    pixel = pixel.masked_fill((pixel < 0) | (pixel >= length), math.inf) + 0.5  # infinitely far from every centre
    triangle = (pixel / width - centre / width).abs_().neg_().add_(1).relu_()
    return triangle.div_(triangle.sum(2, keepdim=True))


def resize(images: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B, C, size, size)."""
    batch, _, height, width = images.shape
    rows, columns = (
        resampling(images.new_zeros(1), images.new_full((1,), full), full, size).expand(batch, -1, -1)
        for full in (height, width)
    )
    return separable(images, rows, columns)


def blurring(sigma: Tensor, kernel: int, full: int) -> Tensor:
    """The matrices (B, full, full) that blur a line by a Gaussian of `kernel` taps, reflecting it at its ends."""
    offsets = torch.arange(kernel, device=sigma.device) - kernel // 2
    weights = torch.softmax(-0.5 * (offsets / sigma.view(-1, 1)) ** 2, 1)
    source = reflected(torch.arange(full, device=sigma.device) + offsets.view(-1, 1), full)
    taps = torch.eye(full, device=sigma.device)[source]  # (kernel, full, full): for each tap, who looks where
    return (weights @ taps.flatten(1)).view(-1, full, full)


def reflected(index: Tensor, full: int) -> Tensor:
    """Indices beyond a line of `full` pixels, mirrored at its first and last pixel."""
    period = max(2 * (full - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, (period - index).remainder(period)).clamp_(max=full - 1)


def inverse_affine(angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor, centre: Tensor) -> Tensor:
    """Output pixel -> input pixel, (B, 2, 3), of the map that shears, scales and turns about `centre`, then shifts.

    angle (B,) and shear (B, 2) in radians, angle clockwise; shift (B, 2) and centre (B, 2) in pixels (x, y), the origin
    in the middle of the image. The forward map is T C R(angle) S(scale) SHy SHx C^-1, torchvision's.
    """
    tilt = torch.tan(shear)
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    shear_x = torch.stack([one, -tilt[:, 0], zero, one], 1).view(-1, 2, 2)
    shear_y = torch.stack([one, zero, -tilt[:, 1], one], 1).view(-1, 2, 2)
    back = torch.linalg.inv(turn @ shear_y @ shear_x * scale.view(-1, 1, 1))
    origin = centre - (back @ (centre + shift).unsqueeze(2)).squeeze(2)
    return torch.cat([back, origin.unsqueeze(2)], 2)


def warp(images: Tensor, inverse: Tensor, mode: str) -> Tensor:
    """Output pixel p is the input at inverse @ (p, 1), `nearest` or `bilinear`; 0 beyond the image."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), 2).view(-1, 2)
    inverse = inverse / inverse.new_tensor([[width / 2], [height / 2]])
    grid = torch.baddbmm(inverse[:, None, :, 2], points.expand(len(inverse), -1, -1), inverse[:, :, :2].mT)
    return F.grid_sample(images, grid.view(-1, height, width, 2), mode=mode, align_corners=False)

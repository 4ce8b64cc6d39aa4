"""Digital: contrast, elastic, pixelate, and JPEG by `jpeg` (arXiv:1903.12261)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.robustness import lines
from pipeline.robustness.draws import Draws


def contrast(images: Tensor, _: Draws, factor: float) -> Tensor:
    """The distance from the mean of each channel, times `factor`."""
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * factor + mean


def pixelate(images: Tensor, _: Draws, factor: float) -> Tensor:
    """Made smaller by `factor` and as large as before, both by boxes."""

    def line(full: int) -> Tensor:
        size = int(full * factor)
        return lines.box(full, size) @ lines.box(size, full)

    return lines.along_both(images, line)


def elastic(images: Tensor, draws: Draws, reach: float, sigma: float, affine: float) -> Tensor:
    """An affine map that moves three points by up to `affine`, then a field of uniform noise smoothed by `sigma`,
    times `reach`. All are shares of the side. Bilinear; mirrored at the last pixel, and after that behind it.
    """
    height, width = images.shape[2:]
    side = min(height, width)
    y, x = (torch.arange(n, dtype=torch.float32, device=images.device) for n in (height, width))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), 2)
    back = _affine(draws, height, width, affine * side)
    images = _sample(images, points @ back[:, None, :, :2].mT + back[:, None, None, :, 2], align_corners=True)
    if reach == 0:
        return images
    field = draws.uniform("field", 2, height, width, low=-1, high=1)
    field = lines.along_both(field, lambda full: lines.gaussian(sigma * side, full, "reflect", 3.0)) * (reach * side)
    return _sample(images, points + field.movedim(1, 3), align_corners=False)


def _affine(draws: Draws, height: int, width: int, reach: float) -> Tensor:
    """(B, 2, 3): output pixel (x, y, 1) -> input pixel, of the map that moves three corners of the middle third."""
    middle = torch.tensor([height // 2, width // 2]).float()
    third = min(height, width) // 3
    corners = middle + third * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    corners = corners.to(draws.streams.device)
    moved = corners + draws.uniform("corners", 3, 2, low=-reach, high=reach)
    return torch.linalg.solve(F.pad(moved.double(), (0, 1), value=1), corners.double()).mT.float()


def _sample(images: Tensor, points: Tensor, align_corners: bool) -> Tensor:
    """Bilinear at `points` (B, H, W, 2) as (x, y) in pixels; mirrored at the last pixel, or (False) behind it."""
    sides = points.new_tensor([images.shape[3], images.shape[2]])
    grid = 2 * points / (sides - 1) - 1 if align_corners else (2 * points + 1) / sides - 1
    return F.grid_sample(images, grid, "bilinear", "reflection", align_corners)

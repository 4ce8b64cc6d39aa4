"""Linear maps of a line of pixels as matrices, so that a whole batch goes through one product for each axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

CACHED = 256  # matrices kept; a severity needs at most 31


def along_both(images: Tensor, line: Callable[[int], Tensor]) -> Tensor:
    """rows @ image @ columns^T of each channel; `line(n)` is the matrix of an axis of n pixels."""
    return product(images, *(line(full).to(images) for full in images.shape[2:]))


def product(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columns^T for any number of leading dimensions, as two products of plain matrices."""
    return ((images @ columns.mT).mT @ rows.mT).mT


@lru_cache(CACHED)
def gaussian(sigma: float, full: int, border: str, truncate: float = 4.0) -> Tensor:
    """(full, full) fp64: a Gaussian of `sigma` pixels, cut off at `truncate` sigmas, as scipy.ndimage has it.

    border: `nearest` repeats the last pixel, `reflect` mirrors behind it (d c b a | a b c d).
    """
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.softmax(-0.5 * (offsets.double() / max(sigma, 1e-9)) ** 2, 0)
    source = torch.arange(full)[:, None] + offsets
    if border == "nearest":
        source = source.clamp(0, full - 1)
    else:
        source = source.remainder(2 * full)
        source = torch.minimum(source, 2 * full - 1 - source)
    return torch.zeros(full, full, dtype=torch.float64).scatter_add_(1, source, weights.expand(full, -1))


@lru_cache(CACHED)
def zoom(factor: float, full: int) -> Tensor:
    """(full, full) fp64: the middle of the line, enlarged; scipy.ndimage.zoom of order 1 of the pixels that fit."""
    kept = math.ceil(full / factor)
    size = round(kept * factor)
    first, trim = (full - kept) // 2, (size - full) // 2
    at = (torch.arange(full, dtype=torch.float64) + trim) * ((kept - 1) / max(size - 1, 1))  # ends map to ends
    below = at.floor().clamp(max=max(kept - 2, 0)).long()
    share = (at - below)[:, None]
    matrix = torch.zeros(full, full, dtype=torch.float64)
    matrix.scatter_add_(1, first + below[:, None], 1 - share)
    return matrix.scatter_add_(1, (first + below[:, None] + 1).clamp(max=full - 1), share)


@lru_cache(CACHED)
def box(size: int, full: int) -> Tensor:
    """(size, full) fp64: resized as by Pillow's BOX, each new pixel the mean of those whose centres it covers."""
    scale = full / size
    reach = max(scale, 1) / 2
    centre = (torch.arange(size, dtype=torch.float64)[:, None] + 0.5) * scale
    away = torch.arange(full) + 0.5 - centre
    inside = ((away > -reach) & (away <= reach)).double()
    return inside / inside.sum(1, keepdim=True)

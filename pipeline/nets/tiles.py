"""Batches of images cut into tiles or turned, each image in its own way."""

from __future__ import annotations

import torch
from torch import Tensor


def gap(side: int, grid: int) -> int:
    """Pixels by which a tile may move in its cell: a quarter of the cell, 21 of 85 in a 255-pixel image.

    Tiles are smaller than their cells, so that an edge does not go on in the next tile (arXiv:1603.09246, section 3.3).
    """
    return side // grid // 4


def tiles(images: Tensor, order: Tensor, moves: Tensor) -> Tensor:
    """The tiles of a square grid: (B, C, H, H) -> (B, n, C, s, s), n = grid^2, s = H // grid - gap.

    Place j of image i holds the tile of cell order[i, j], cells counted row by row; the grid is in the middle.
    order: (B, n), a permutation in each row; moves: (B, n, 2) in [0, 1), how far down and right a tile is in its cell.
    """
    grid = round(order.shape[1] ** 0.5)
    cell, free = images.shape[-1] // grid, gap(images.shape[-1], grid)
    cells = torch.stack([order // grid, order % grid], 2)
    corner = (images.shape[-1] - grid * cell) // 2 + cells * cell + (moves * (free + 1)).long()
    y, x = (corner[..., None] + torch.arange(cell - free, device=images.device)).unbind(2)
    which = torch.arange(len(images), device=images.device)[:, None, None, None]
    return images[which, :, y[..., None], x[..., None, :]].movedim(-1, 2)


def beside(images: Tensor) -> Tensor:
    """The image beside each: rows 2i and 2i + 1 change places, and the last of an odd number takes the row before it.

    Pairs never reach from one process to another where each has an even number of images.
    """
    rows = torch.arange(len(images), device=images.device) ^ 1
    return images[torch.where(rows < len(images), rows, rows - 2)]


def occluded(mine: Tensor, others: Tensor, luck: Tensor, count: Tensor) -> Tensor:
    """Puzzles (B, n, C, s, s) where `count` (B,) of the tiles are those of `others` in their places.

    luck: (B, n) in [0, 1); all places have the same chance.
    """
    hidden = luck.argsort(1) < count[:, None]
    return torch.where(hidden[..., None, None, None], others, mine)


def turns(images: Tensor) -> Tensor:
    """All four ways to turn (B, C, H, H): (4, B, C, H, H), the k-th by k quarters counter-clockwise."""
    return torch.stack([images.rot90(k, (2, 3)) for k in range(4)])


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Each image (B, C, H, H) turned counter-clockwise by its number (B,) of quarters, 0 to 3."""
    return turns(images)[quarters, torch.arange(len(images), device=images.device)]

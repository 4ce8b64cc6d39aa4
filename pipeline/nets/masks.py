"""Which patches of an image are hidden: drawn from uniform numbers, of an exact count."""

from __future__ import annotations

import torch
from torch import Tensor

TRIES = 16
"""blocks that are drawn for an image; 75 of 196 patches take 3 to 10"""


def blockwise(draws: Tensor, grid: tuple[int, int], count: int, least: int) -> Tensor:
    """Rectangles of hidden patches until there are `count` (BEiT, arXiv:2106.08254, Algorithm 1): (B, h * w), bool.

    draws: (B, blocks, 4) in [0, 1), for size, aspect, top and left. A block has from `least` to as many patches as are
    missing (the other way round where fewer are missing); its aspect is log-uniform in [.3, 1 / .3], as in the authors'
    code. The last block may have too many: its lowest ones stay visible. Should the blocks that were drawn not do, the
    first visible patches, row by row, are hidden too. Exactly `count` in either case.
    """
    (h, w), blocks = grid, draws.shape[1]
    rows, columns = torch.arange(h, device=draws.device)[:, None], torch.arange(w, device=draws.device)
    hidden_by = torch.full((len(draws), h, w), blocks, device=draws.device)
    for block in range(blocks):
        size, aspect, down, right = draws[:, block, :, None, None].unbind(1)
        missing = count - (hidden_by < blocks).sum((1, 2), keepdim=True)
        s, r = least + size * (missing.clamp_min(0) - least), 0.3 ** (2 * aspect - 1)
        a, b = (s * r).sqrt().round().clamp(1, h), (s / r).sqrt().round().clamp(1, w)
        top, left = (down * (h - a + 1)).floor(), (right * (w - b + 1)).floor()
        covers = (top <= rows) & (rows < top + a) & (left <= columns) & (columns < left + b)
        hidden_by = torch.where(covers, hidden_by.clamp_max(block), hidden_by)
    first = hidden_by.flatten(1).argsort(dim=1, stable=True)[:, :count]
    return torch.zeros(len(draws), h * w, dtype=torch.bool, device=draws.device).scatter(1, first, True)

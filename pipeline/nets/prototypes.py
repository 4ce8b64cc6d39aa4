"""Directions that features are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.losses import unit


class Prototypes(nn.Module):
    """The cosine of each feature with each of `count` learned directions, in fp32: (B, dim) -> (B, count).

    The layer of SwAV without bias, and the last one of DINO, whose weight normalisation has its gain fixed at 1: the
    length of a row means nothing. `frozen` gives the rows a gradient of zero, which every process can average; with
    weight decay such a row shrinks and keeps its direction.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(unit(torch.randn(count, dim)))

    def forward(self, features: Tensor, frozen: bool = False) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            rows = unit(self.weight)
            return unit(features) @ (rows.detach() + 0 * rows if frozen else rows).T

    @torch.no_grad()
    def normalise(self) -> None:
        """Rows of length 1 again, so that their step size does not shrink while they grow."""
        self.weight.copy_(unit(self.weight))

"""Random numbers that belong to images: the same in any batch, on any rank, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.seed import number
from pipeline.streams import mixed, numbers

BITS = 23  # of a uniform number: its middle is exact in fp32, and never 0 or 1


class Draws:
    """One stream for each image of a batch. Numbers are hashed from (image, purpose, name, place), so that neither the
    order of the calls nor the size of the batch matters; no generator has a state.
    """

    def __init__(self, streams: Tensor):
        self.streams = streams  # (B,) int64

    @classmethod
    def of(cls, keys: Sequence[str], seed: int, device: torch.device | str = "cpu") -> Draws:
        return cls(torch.tensor([number(seed, "robustness", key) for key in keys], device=device))

    def __getitem__(self, rows: slice) -> Draws:
        return Draws(self.streams[rows])

    def purpose(self, *purpose: str | int) -> Draws:
        """Others for each purpose, such as ("fog", 3)."""
        return Draws(mixed(self.streams ^ number(0, *purpose)))

    def integers(self, name: str, *shape: int) -> Tensor:
        """int64 (B, *shape), all 64 bits random."""
        return numbers(self.purpose(name).streams, math.prod(shape)).view(-1, *shape)

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """fp32 (B, *shape) in (low, high), 2^23 values at equal distances."""
        middle = ((self.integers(name, *shape) >> 40) & (2**BITS - 1)).float().add_(0.5).mul_(2.0**-BITS)
        return middle if (low, high) == (0, 1) else middle.mul_(high - low).add_(low)

    def normal(self, name: str, *shape: int) -> Tensor:
        """fp32 (B, *shape), by the inverse of the distribution: within +-5.3."""
        return self.uniform(name, *shape).mul_(2).sub_(1).erfinv_().mul_(math.sqrt(2))

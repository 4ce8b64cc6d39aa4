"""What stands on an encoder: a linear classifier, or a multi-layer projection."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


class Head(nn.Sequential):
    """Linear -> BatchNorm -> ReLU -> ... -> Linear, through the widths `dims`: (B, dims[0]) -> (B, dims[-1]).

    `Head([d, K])` is a linear classifier. With `norm`, a hidden Linear has no bias, since the norm brings its own;
    the last one always has.
    """

    def __init__(self, dims: list[int], norm: bool = True) -> None:
        super().__init__()
        self.dims, self.norm = list(dims), norm
        for inside, outside in pairwise(dims[:-1]):
            self.append(nn.Linear(inside, outside, bias=not norm))
            if norm:
                self.append(nn.BatchNorm1d(outside))
            self.append(nn.ReLU())
        self.append(nn.Linear(dims[-2], dims[-1]))

    def first(self, k: int) -> nn.Sequential:
        """The first `k` layers, each with its norm and ReLU (the last layer has neither): the modules, not copies."""
        return nn.Sequential(*list(self)[: k * (3 if self.norm else 2)])

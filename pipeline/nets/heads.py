"""What stands on an encoder: a linear classifier, or a multi-layer projection."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class Head(nn.Sequential):
    """Linear -> BatchNorm -> ReLU -> ... -> Linear, through the widths `dims`: (B, dims[0]) -> (B, dims[-1]).

    `Head([d, K])` is a linear classifier. With `norm`, a hidden Linear has no bias, since the norm brings its own. The
    last Linear has a bias and nothing behind it; with `last_norm`, a BatchNorm without weights (SimSiam, MoCo v3).
    `last_bias` False is for losses that see differences only: there a bias would learn nothing.
    """

    def __init__(
        self,
        dims: list[int],
        norm: bool = True,
        last_norm: bool = False,
        activation: Literal["relu", "gelu"] = "relu",
        last_bias: bool = True,
    ) -> None:
        super().__init__()
        self.dims = list(dims)
        self.spec = {"dims": self.dims, "norm": norm, "last_norm": last_norm, "activation": activation}
        if not last_bias:
            self.spec["last_bias"] = False
        for inside, outside in pairwise(dims[:-1]):
            self.append(nn.Linear(inside, outside, bias=not norm))
            if norm:
                self.append(nn.BatchNorm1d(outside))
            self.append(ACTIVATIONS[activation]())
        self.append(nn.Linear(dims[-2], dims[-1], bias=last_bias and not last_norm))
        if last_norm:
            self.append(nn.BatchNorm1d(dims[-1], affine=False))

    def first(self, k: int) -> nn.Sequential:
        """The first `k` layers, each with its norm and activation (the last has neither): the modules, not copies."""
        return nn.Sequential(*list(self)[: k * (3 if self.spec["norm"] else 2)])

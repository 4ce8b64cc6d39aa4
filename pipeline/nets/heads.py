"""What stands on an encoder: a linear classifier, or a multi-layer projection."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

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


class TokenHeads(nn.Module):
    """A linear classifier for each of `tokens` features side by side, and the mean of what they say (arXiv:2012.12877).

    (B, dims[0]) -> (B, dims[-1]), where dims[0] is that of all tokens.
    """

    def __init__(self, dims: list[int], tokens: int = 2) -> None:
        super().__init__()
        self.dims, self.spec = list(dims), {"dims": list(dims), "tokens": tokens}
        self.heads = nn.ModuleList(nn.Linear(dims[0] // tokens, dims[-1]) for _ in range(tokens))

    def apart(self, z: Tensor) -> list[Tensor]:
        """What each says of its token, (B, dims[-1]), in their order."""
        return [head(part) for head, part in zip(self.heads, z.chunk(len(self.heads), 1), strict=True)]

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack(self.apart(z)).mean(0)


def rebuild_head(spec: dict[str, Any] | None) -> nn.Module:
    """A head of that shape; of None, nn.Identity."""
    if spec is None:
        return nn.Identity()
    return TokenHeads(**spec) if "tokens" in spec else Head(**spec)

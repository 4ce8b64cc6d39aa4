"""Networks that are not trained: one that follows by exponential moving average, one that stays as it is.

Both are modules of their own. Swapping averaged weights into the trained network instead would, inside one autocast
region, silently evaluate the trained weights: autocast caches its casts by parameter.
"""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


class Ema(nn.Module, Generic[N]):
    """A copy of `online` that follows it: target <- m target + (1 - m) online.

    It is in train mode when its parent is, unless `always_eval`: its BatchNorm then uses batch statistics, as in MoCo,
    BYOL and Mean Teacher.
    """

    net: N
    updates: Tensor

    def __init__(self, online: N, always_eval: bool = False) -> None:
        super().__init__()
        self.net = copy.deepcopy(online).requires_grad_(False)
        self.always_eval = always_eval
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.train(online.training)

    def train(self, mode: bool = True) -> Ema:
        return super().train(mode and not self.always_eval)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        return self.net(*inputs)

    @torch.no_grad()
    def follow(self, online: nn.Module, m: float) -> None:
        """Average parameters and float buffers with momentum `m` in [0, 1]; copy integer buffers."""
        mine = [*self.net.parameters(), *self.net.buffers()]
        theirs = [*online.parameters(), *online.buffers()]
        averaged = [(target, source) for target, source in zip(mine, theirs, strict=True) if target.is_floating_point()]
        torch._foreach_lerp_([target for target, _ in averaged], [source for _, source in averaged], 1 - m)
        for target, source in zip(mine, theirs, strict=True):
            if not target.is_floating_point():
                target.copy_(source)
        self.updates += 1

    def warm(self, m: float) -> float:
        """min(1 - 1 / (updates + 1), m): a plain mean at first (Tarvainen and Valpola 2017, arXiv:1703.01780)."""
        return min(1 - 1 / (int(self.updates) + 1), m)


class Frozen(nn.Module):
    """A teacher: always in eval mode, never a gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        return self.net(*inputs)

"""What a method remembers: networks that follow or stay as they are, a queue of keys, a bank of one row per image.

Target networks are modules of their own. Swapping averaged weights into the trained network instead would, inside one
autocast region, silently evaluate the trained weights: autocast caches its casts by parameter.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import gather, unit

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
        """min(1 - 1 / (updates + 1), m): a plain mean at first (Mean Teacher, arXiv:1703.01780)."""
        return min(1 - 1 / (int(self.updates) + 1), m)


class Frozen(nn.Module, Generic[N]):
    """A teacher: always in eval mode, never a gradient."""

    net: N

    def __init__(self, net: N) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        return self.net(*inputs)


def rising(m: float, t: float) -> float:
    """A momentum that rises from `m` to 1 on half a cosine, t in [0, 1) (BYOL, arXiv:2006.07733, section 3.3)."""
    return 1 - (1 - m) * (math.cos(math.pi * t) + 1) / 2


def ramp(first: float, last: float, share: float, t: float) -> float:
    """Linear from `first` at t = 0 to `last` at t = share, and `last` from there on."""
    return first + (last - first) * t / share if t < share else last


def sigmoid_ramp(last: float, share: float, t: float) -> float:
    """last exp(-5 (1 - t / share)^2), and `last` from t = share on (Laine and Aila 2016, arXiv:1610.02242, appendix A).

    At t = 0 it is last exp(-5), less than a hundredth.
    """
    return last * math.exp(-5 * (1 - t / share) ** 2) if t < share else last


def eased(first: float, last: float, share: float, t: float) -> float:
    """`ramp` on half a cosine: slow at both ends."""
    return last + (first - last) * (math.cos(math.pi * t / share) + 1) / 2 if t < share else last


class Queue(nn.Module):
    """The last `size` keys (size, dim), rows of length 1; random directions at first (MoCo, arXiv:1911.05722).

    Read `keys` before the yield and `push` after it: a queue that already holds the batch has each query's own positive
    among its negatives. Raises ParamsError where there is room for none.
    """

    keys: Tensor
    next: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ParamsError(f"a queue of {size} keys holds none; give it room for a batch or more")
        self.register_buffer("keys", unit(torch.randn(size, dim)))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put the newest keys (B, dim) in the place of the oldest, in their order; of more than `size`, the last."""
        size = len(self.keys)
        keys = keys[-size:]
        places = (self.next + torch.arange(len(keys), device=keys.device)) % size
        self.keys[places] = keys.to(self.keys.dtype)
        self.next.copy_((self.next + len(keys)) % size)


class MemoryBank(nn.Module):
    """One row for each of `images` (images, dim), of length 1; random directions at first (arXiv:1805.01978)."""

    rows: Tensor

    def __init__(self, images: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", unit(torch.randn(images, dim)))

    @torch.no_grad()
    def update(self, index: Tensor, z: Tensor, m: float) -> None:
        """rows[index] <- unit(m rows[index] + (1 - m) z); index: (B,), z: (B, dim) of length 1."""
        self.rows[index] = unit(m * self.rows[index] + (1 - m) * z.to(self.rows.dtype))


class Averages(nn.Module):
    """A running average (images, dim) of what is said of each image, from zero (arXiv:1610.02242, Algorithm 2)."""

    rows: Tensor
    counts: Tensor

    def __init__(self, images: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(images, dim))
        self.register_buffer("counts", torch.zeros(images, dtype=torch.int64))

    def means(self, index: Tensor, alpha: float) -> Tensor:
        """(B, dim), each row over 1 - alpha^t of its own t updates; zero where there was none."""
        weight = 1 - alpha ** self.counts[index].float()
        return self.rows[index] / weight.clamp_min(1e-6)[:, None]

    @torch.no_grad()
    def update(self, index: Tensor, z: Tensor, alpha: float) -> None:
        """rows[index] <- alpha rows[index] + (1 - alpha) z; index: (B,), z: (B, dim)."""
        self.rows[index] = alpha * self.rows[index] + (1 - alpha) * z.to(self.rows.dtype)
        self.counts[index] += 1


class Alignment(nn.Module):
    """Distribution alignment (ReMixMatch, arXiv:1911.09785, section 3.1): p -> Normalize(p given / guessed), (B, K).

    given, guessed: how often a labelled image is of each class and an unlabelled one is said to be, the means of the
    last `size` batches of all processes; at first all classes are alike.
    """

    given: Tensor
    guessed: Tensor
    next: Tensor

    def __init__(self, classes: int, size: int = 128) -> None:
        super().__init__()
        self.register_buffer("given", torch.full((size, classes), 1 / classes))
        self.register_buffer("guessed", torch.full((size, classes), 1 / classes))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def forward(self, p: Tensor) -> Tensor:
        raised = p * (self.given.mean(0) + 1e-6) / (self.guessed.mean(0) + 1e-6)
        return raised / raised.sum(1, keepdim=True)

    @torch.no_grad()
    def update(self, labels: Tensor, p: Tensor) -> None:
        """The newest batch in the place of the oldest; labels: one-hot (B, K), p: (B', K), before alignment."""
        self.given[self.next], self.guessed[self.next] = gather(labels).mean(0), gather(p).mean(0)
        self.next.copy_((self.next + 1) % len(self.given))


class Turns(nn.Module):
    """`size` of `images` rows at a time, in one random order, round and round: noise that is the same on all processes.

    Read `rows()` before the yield, `turn()` after it.
    """

    order: Tensor
    next: Tensor

    def __init__(self, images: int, size: int) -> None:
        super().__init__()
        self.size = min(size, images)
        self.register_buffer("order", torch.randperm(images))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def rows(self) -> Tensor:
        """(size,), each row at most once."""
        places = self.next + torch.arange(self.size, device=self.order.device)
        return self.order[places % len(self.order)]

    @torch.no_grad()
    def turn(self) -> None:
        self.next.copy_((self.next + self.size) % len(self.order))

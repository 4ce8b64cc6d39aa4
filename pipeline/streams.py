"""Random numbers by their place in a stream: the same on every device and in any batch, with no state to keep."""

from __future__ import annotations

import torch
from torch import Tensor

STEP = 0x9E3779B97F4A7C15 - 2**64  # 2^64 / golden ratio, odd
FIRST, SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def numbers(streams: Tensor, count: int) -> Tensor:
    """int64 (B, count): outputs 1, 2, ... of SplitMix64 (Steele, Lea and Flood 2014) from each state int64 (B,)."""
    return mixed(streams[:, None] + torch.arange(1, count + 1, device=streams.device) * STEP)


def mixed(z: Tensor) -> Tensor:
    """Its finaliser, in place: products wrap around, shifts bring in zeros."""
    z.bitwise_xor_((z >> 30) & (2**34 - 1)).mul_(FIRST)
    z.bitwise_xor_((z >> 27) & (2**37 - 1)).mul_(SECOND)
    return z.bitwise_xor_((z >> 31) & (2**33 - 1))

"""Every draw is a function of (seed, purpose, step or key): workers, kills and resumes never change a result."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def number(seed: int, *purpose: str | int) -> int:
    """63 bits that depend on the seed and on everything in `purpose`, and on nothing else."""
    text = "\x1f".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def fraction(seed: int, *purpose: str | int) -> float:
    """A uniform number in [0, 1): the coin of one key."""
    return number(seed, *purpose) / 2**63


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator of its own, so that the device never changes a draw."""
    import torch

    return torch.Generator().manual_seed(number(seed, *purpose))


def everything(seed: int, *purpose: str | int) -> None:
    """Seed torch's global generators: what dropout and stochastic depth draw from, inside one step."""
    import torch

    torch.manual_seed(number(seed, *purpose))

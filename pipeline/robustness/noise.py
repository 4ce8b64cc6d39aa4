"""Noise: gaussian, shot, impulse (arXiv:1903.12261)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from pipeline.robustness.draws import Draws

LEVELS = 256


def gaussian(images: Tensor, draws: Draws, sigma: float) -> Tensor:
    """x + sigma n, n standard normal of each value."""
    return images + sigma * draws.normal("noise", *images.shape[1:])


def shot(images: Tensor, draws: Draws, photons: float) -> Tensor:
    """Poisson(photons x) / photons, by the inverse of its distribution at each of the 256 levels of x."""
    level = images.mul(LEVELS - 1).round().long()
    steps = _poisson(float(photons)).to(images.device)
    at = draws.uniform("noise", *images.shape[1:]).double() + level
    counts = torch.searchsorted(steps.flatten(), at) - level * steps.shape[1]
    return counts.to(images) / photons


@lru_cache(16)
def _poisson(photons: float) -> Tensor:
    """(256, counts) fp64: level + P(N <= n), which rises through all levels, so that one search finds level and n."""
    rate = (torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1) * photons)[:, None]
    n = torch.arange(int(photons + 8 * photons**0.5) + 16, dtype=torch.float64)
    chance = torch.exp(torch.xlogy(n, rate) - rate - torch.lgamma(n + 1))
    return chance.cumsum(1).clamp_(max=1) + torch.arange(LEVELS)[:, None]


def impulse(images: Tensor, draws: Draws, amount: float) -> Tensor:
    """A share `amount` of the values, each channel on its own, becomes 0 or 1 with equal chances."""
    u = draws.uniform("noise", *images.shape[1:])
    return images.masked_fill(u < amount, 1).masked_fill(u < amount / 2, 0)

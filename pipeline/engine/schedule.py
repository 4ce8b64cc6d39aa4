"""The learning rate as a pure function of progress t in [0, 1)."""

from __future__ import annotations

from math import cos, pi

from torch.optim import Optimizer

from pipeline.params import Schedule

SHAPES = {
    "cosine": lambda t: (1 + cos(pi * t)) / 2,
    "fixmatch": lambda t: cos(7 * pi * t / 16),  # ends at 0.195 of the peak
    "linear": lambda t: 1 - t,
    "constant": lambda t: 1.0,
}


def factor(schedule: Schedule, t: float) -> float:
    """Share of the peak rate: a linear rise over `warmup`, then the shape over what is left."""
    if t < schedule.warmup:
        return t / schedule.warmup
    return SHAPES[schedule.name]((t - schedule.warmup) / (1 - schedule.warmup))


def set_rate(optimiser: Optimizer, schedule: Schedule, t: float) -> None:
    """Each group keeps its own peak in `initial_lr`: layers further down may learn more slowly."""
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * factor(schedule, t)

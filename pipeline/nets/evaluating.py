"""A network as it is used, not as it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

NOISE = ("Dropout", "Dropout1d", "Dropout2d", "DropPath", "StochasticDepth")  # by name: timm takes seconds to import


@contextmanager
def evaluating(network: nn.Module, noise: bool = False) -> Iterator[None]:
    """Eval mode inside, but for dropout and stochastic depth where `noise`; afterwards each module is as it was."""
    modes = [(module, module.training) for module in network.modules()]
    for module, _ in modes:
        module.training = noise and type(module).__name__ in NOISE
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

"""What an op is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor


class Op:
    """One step of a recipe: a dataclass whose fields are the arguments, annotated with their ranges.

    `draw(n, height, width, generator)` makes what is random, on the CPU: a dictionary of tensors, first dimension n.
    `apply(images, **drawn)` does it, on any device: (n, C, H, W) floats in [0, 1], which it may overwrite.
    """

    named: ClassVar[dict[str, type[Op]]] = {}
    draw: ClassVar[Callable[..., dict[str, Tensor]]]
    apply: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls) -> None:
        Op.named[cls.__name__.lower()] = cls


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def chance(n: int, p: float, generator: Generator) -> Tensor:
    """(n,) bool, each true with probability p."""
    return torch.rand(n, generator=generator) < p


def unchanged(images: Tensor, *_: Tensor) -> Tensor:
    return images


def in_turns(images: Tensor, choice: Tensor, functions: Sequence[Callable[..., Tensor]], *parameters: Tensor) -> Tensor:
    """In turn t each sample goes through functions[choice[:, t]] with its parameters of that turn; all are (n, turns).

    The batch is sorted by choice before each turn, so that each function works on one slice and an image is copied
    once a turn.
    """
    place = torch.arange(len(images), device=images.device)  # which sample stands where
    spare = torch.empty_like(images)
    for turn in range(choice.shape[1]):
        sort = choice[place, turn].argsort()
        torch.index_select(images, 0, sort, out=spare)
        place, images, spare = place[sort], spare, images
        counts = choice[:, turn].bincount(minlength=len(functions)).tolist()
        values = (parameter[place, turn].split(counts) for parameter in parameters)
        for function, part, *own in zip(functions, images.split(counts), *values, strict=True):
            if len(part):
                part.copy_(function(part, *own))  # nothing, where the function has worked in place
    return torch.index_select(images, 0, place.argsort(), out=spare)


def where(chosen: Tensor, images: Tensor, function: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """`function` of the chosen samples and of their parameters, in place; the others cost nothing."""
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    part = function(images.index_select(0, rows), *(parameter.index_select(0, rows) for parameter in parameters))
    return images.index_copy_(0, rows, part)

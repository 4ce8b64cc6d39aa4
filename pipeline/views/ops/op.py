"""What an op is."""

from __future__ import annotations

import math
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


def rectangles(
    n: int,
    height: int,
    width: int,
    areas: tuple[float, float],
    ratios: tuple[float, float],
    generator: Generator,
    fit: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Whole pixels (n, 2) as height, width: sides, where they start, and (n,) bool whether one of ten tries did `fit`.

    areas: uniform, as shares of the image; ratios of width to height: uniform in the logarithm. `fit(sides, image)`.
    """
    tries, image = 10 * n, torch.tensor([height, width])
    area = uniform(tries, *areas, generator) * (height * width)
    ratio = uniform(tries, math.log(ratios[0]), math.log(ratios[1]), generator).exp()
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], 1).round().view(n, 10, 2)
    fits = fit(sides, image).all(2)
    sides = sides[torch.arange(n), fits.int().argmax(1)]  # the first that fits
    free = (image - sides).clamp_min(0)
    start = (torch.rand(n, 2, generator=generator) * (free + 1)).floor().minimum(free)
    return sides, start, fits.any(1)


def inside(start: Tensor, sides: Tensor, height: int, width: int) -> Tensor:
    """(n, 1, height, width) bool, true in the rectangle of each sample; start, sides: (n, 2) as height, width."""
    lines = []
    for full, first, side in zip((height, width), start.T, sides.T, strict=True):
        offset = torch.arange(full, device=start.device) - first[:, None]
        lines.append((offset >= 0) & (offset < side[:, None]))
    return lines[0][:, None, :, None] & lines[1][:, None, None, :]


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

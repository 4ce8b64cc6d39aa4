"""Weather: snow, frost, fog, brightness (arXiv:1903.12261)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.robustness import lines
from pipeline.robustness.blur import along
from pipeline.robustness.draws import Draws

LUMINANCE = (0.299, 0.587, 0.114)
ICE = (0.84, 0.92, 1.0)  # bluish white


def grey(images: Tensor) -> Tensor:
    """(B, 1, H, W)"""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(LUMINANCE).view(-1, 1, 1)).sum(1, keepdim=True)


def snow(images: Tensor, draws: Draws, mean: float, spread: float, *falling: float) -> Tensor:
    """The image bleached, and flakes that fall at an angle of -135 to -45 degrees, with the same turned by 180."""
    flakes = mean + spread * draws.normal("flakes", 1, *images.shape[2:])
    return snowed(images, flakes, draws.uniform("angle", low=-135, high=-45), *falling)


def snowed(
    images: Tensor,
    flakes: Tensor,
    degrees: Tensor,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    stays: float,
) -> Tensor:
    """`snow` of these flakes (B, 1, H, W), falling at these angles (B,)."""
    flakes = lines.along_both(flakes, partial(lines.zoom, zoom))
    flakes = along(torch.where(flakes < threshold, 0, flakes).clamp_(0, 1), degrees, radius, sigma)
    bleached = torch.maximum(images, grey(images) * 1.5 + 0.5)
    return stays * images + (1 - stays) * bleached + flakes + flakes.rot90(2, (2, 3))


def frost(images: Tensor, draws: Draws, stays: float, amount: float) -> Tensor:
    """stays x + amount ice. The paper's ice is six photographs; ours is grown, so scores on it are not theirs."""
    ice = crystals(draws, *images.shape[2:]) * images.new_tensor(ICE[-images.shape[1] :]).view(-1, 1, 1)
    return stays * images + amount * ice


def crystals(draws: Draws, height: int, width: int) -> Tensor:
    """(B, 1, H, W) in [0, 1]: needles where smooth noise crosses zero, from a quarter of the side down to one pixel.

    Each scale is half as strong as the one above it, and grows best where that one has left ice.
    """
    ice, strength, cell = torch.ones((), device=draws.streams.device), 1.0, max(height, width) // 4
    while cell >= 1:
        grid = draws.normal(f"ice {cell}", 1, height // cell + 2, width // cell + 2)
        noise = F.interpolate(grid, scale_factor=float(cell), mode="bicubic")[:, :, :height, :width]
        ice = ice * (1 + strength * (1 - noise.abs()).clamp_(min=0).square())
        strength, cell = strength / 2, cell // 2
    return (ice - 1) / (ice - 1).amax((2, 3), keepdim=True)


def fog(images: Tensor, draws: Draws, depth: float, decay: float) -> Tensor:
    """(x + depth fog) m / (m + depth), m the brightest value of the image."""
    side = 1 << (max(*images.shape[2:]) - 1).bit_length()
    clouds = plasma(draws, side, decay)[:, None, : images.shape[2], : images.shape[3]]
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + depth * clouds) * brightest / (brightest + depth)


def plasma(draws: Draws, side: int, decay: float) -> Tensor:
    """(B, side, side) in [0, 1]: clouds by the diamond-square algorithm on a torus; side is a power of two.

    Each round halves the distance of the points: a new point is the mean of its four neighbours, diagonal ones first,
    plus uniform noise of +-w^2, where w starts at 100 and is divided by `decay` after each round.
    """
    points, w = torch.zeros(len(draws.streams), 1, 1, device=draws.streams.device), 100.0

    def between(total: Tensor, name: str) -> Tensor:
        n = total.shape[1]
        return total / 4 + draws.uniform(f"{name} {n}", n, n, low=-(w**2), high=w**2)

    while points.shape[1] < side:
        pairs = points + points.roll(-1, 1)
        middle = between(pairs + pairs.roll(-1, 2), "square")
        across = between(points + points.roll(-1, 2) + middle + middle.roll(1, 1), "across")
        down = between(points + points.roll(-1, 1) + middle + middle.roll(1, 2), "down")
        even, odd = torch.stack([points, across], 3).flatten(2), torch.stack([down, middle], 3).flatten(2)
        points, w = torch.stack([even, odd], 2).flatten(1, 2), w / decay
    points = points - points.amin((1, 2), keepdim=True)
    return points / points.amax((1, 2), keepdim=True)


def brightness(images: Tensor, _: Draws, amount: float) -> Tensor:
    """`amount` added to the value V of HSV, cut at 1. Hue and saturation stay, so that x becomes x V' / V."""
    value = images.amax(1, keepdim=True)
    brighter = (value + amount).clamp_(0, 1)
    return torch.where(value > 0, images * brighter / value.clamp_min(1e-9), brighter)

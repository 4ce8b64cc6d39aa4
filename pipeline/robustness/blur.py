"""Blur: defocus, glass, motion, zoom (arXiv:1903.12261)."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.robustness import lines
from pipeline.robustness.draws import Draws
from pipeline.views.warp import reflected


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels, the last pixels repeated."""
    return lines.along_both(images, lambda full: lines.gaussian(sigma, full, "nearest"))


def defocus(images: Tensor, _: Draws, radius: float, edge: float) -> Tensor:
    """A disk of `radius` pixels, itself blurred by a Gaussian of `edge`; the image is mirrored at its last pixels."""
    kernel = disk(radius, edge).to(images)
    reach, (height, width) = len(kernel) // 2, images.shape[2:]
    rows, columns = (reflected(torch.arange(-reach, n + reach, device=images.device), n) for n in (height, width))
    padded = images.index_select(2, rows).index_select(3, columns)
    return F.conv2d(padded.flatten(0, 1)[:, None], kernel[None, None]).view_as(images)


@lru_cache(16)
def disk(radius: float, edge: float) -> Tensor:
    """The kernel of `defocus`, fp64: pixels within the radius, then 3 x 3 taps (5 x 5 above radius 8) of a Gaussian."""
    side = max(8, math.ceil(radius))
    away = torch.arange(-side, side + 1, dtype=torch.float64) ** 2
    kernel = (away + away[:, None] <= radius**2).double()
    taps = torch.arange(-1, 2) if radius <= 8 else torch.arange(-2, 3)
    weights = torch.softmax(-0.5 * (taps.double() / edge) ** 2, 0)
    source = reflected(torch.arange(len(kernel))[:, None] + taps, len(kernel))
    line = torch.zeros_like(kernel).scatter_add_(1, source, weights.expand(len(kernel), -1))
    kernel = line @ (kernel / kernel.sum()) @ line.mT
    empty = int((kernel.sum(1) > 0).int().argmax())  # rows of zeros cost time
    return kernel[empty : len(kernel) - empty, empty : len(kernel) - empty].clone()


def glass(images: Tensor, draws: Draws, sigma: float, reach: int, times: int) -> Tensor:
    """Blurred, then each pixel takes the colour of one within `reach`, then blurred again.

    As in the published images: from the lower right to the upper left, offsets from -reach to reach - 1. The authors
    wrote a swap, but of array views, which only copies.
    """
    images = gaussian(images, sigma)
    height, width = images.shape[2:]
    for turn in range(times):
        source = taken(draws.integers(f"turn {turn}", 2, height, width), reach)
        images = images.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    return gaussian(images, sigma)


def taken(integers: Tensor, reach: int) -> Tensor:
    """Flat index (B, H, W) of the pixel whose colour each pixel ends up with; integers (B, 2, H, W) say the offsets.

    A pixel looks at one that comes before it (is as yet unchanged), or at one that has changed already and so shows
    what that one took: such chains are followed to their ends in log2(length) steps, all pixels at once.
    """
    height, width = integers.shape[2:]
    y, x = (torch.arange(n, device=integers.device) for n in (height, width))
    moves = ((y > reach) & (y <= height - reach))[:, None] & ((x > reach) & (x <= width - reach))
    offset = (integers >> 8).remainder(2 * reach) - reach
    place = y[:, None] * width + x
    source = place + moves * (offset[:, 0] * width + offset[:, 1])
    source, moves = source.flatten(1), moves.flatten()
    changed = (source > place.flatten()) & moves[source]
    while changed.any():
        further = changed & changed.gather(1, source)
        source, changed = torch.where(changed, source.gather(1, source), source), further
    return source.view(-1, height, width)


def motion(images: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """Blurred along a line at an angle of -45 to 45 degrees."""
    return along(images, draws.uniform("angle", low=-45, high=45), radius, sigma)


def along(images: Tensor, degrees: Tensor, radius: float, sigma: float) -> Tensor:
    """The mean of the image moved by 0 to 2 ceil(radius) whole pixels at the angles `degrees` (B,), half a Gaussian
    being the weights, the last pixels repeated: ImageMagick's motion blur, which the authors call.
    """
    taps = torch.arange(2 * math.ceil(radius) + 1, device=images.device)
    weights = torch.softmax(-0.5 * (taps.double() / sigma) ** 2, 0).to(images).tolist()
    angle = degrees.double().deg2rad()[:, None]
    right, down = ((taps * part - 0.5).ceil().long() for part in (angle.cos(), angle.sin()))
    height, width = images.shape[2:]
    y, x = (torch.arange(n, device=images.device) for n in (height, width))
    flat, out = images.flatten(2), torch.zeros_like(images)
    for tap, weight in enumerate(weights):
        rows = (y + down[:, tap, None]).clamp_(0, height - 1) * width
        columns = (x + right[:, tap, None]).clamp_(0, width - 1)
        source = (rows[:, :, None] + columns[:, None]).view(-1, 1, height * width)
        out += weight * flat.gather(2, source.expand_as(flat)).view_as(images)
    return out


def zoom(images: Tensor, _: Draws, stop: float, step: float) -> Tensor:
    """The mean of the image and of its enlargements by 1, 1 + step, ... below `stop`."""
    factors = np.arange(1, stop, step).tolist()  # its rounding decides, as theirs did, whether `stop` is among them
    return sum((lines.along_both(images, partial(lines.zoom, factor)) for factor in factors), images) / (
        len(factors) + 1
    )

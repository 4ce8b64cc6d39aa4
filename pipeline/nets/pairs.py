"""Pairs of patches of one image, the second in one of the eight places around the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.luck import Luck

PLACES = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""down, right: the eight neighbours, row by row"""


class Layout(NamedTuple):
    """Pixels of a patch, between two neighbours, and by which each may be off its place in any direction."""

    patch: int
    gap: int
    jitter: int


def layout(side: int) -> Layout:
    """Of patches in an image of that side: the largest where a patch with all its neighbours fits, moved or not.

    The gap is half a patch and the jitter 7 / 96 of it (Doersch et al. 2015, arXiv:1505.05192, section 3). Raises
    ParamsError where not even patches of 2 pixels fit.
    """
    for patch in range(side // 3, 1, -1):
        found = Layout(patch, patch // 2, round(7 * patch / 96))
        if 3 * patch + 2 * found.gap + 4 * found.jitter <= side:
            return found
    raise ParamsError(f"a patch and its neighbours do not fit into {side} pixels; images must have 8 or more")


def corners(side: int, place: Tensor, luck: Tensor) -> Tensor:
    """Upper left pixels of both patches, (B, 2, 2): of the first and the second, how far down and how far right.

    place: (B,), index of PLACES; luck: (B, 4) in [0, 1). The first is anywhere that leaves room for all eight places,
    so that where it is does not tell the place; the second is off its place by up to the jitter.
    """
    patch, gap, jitter = layout(side)
    room = side - 3 * patch - 2 * gap - 2 * jitter
    first = patch + gap + jitter + (luck[:, :2] * (room + 1)).long()
    off = (luck[:, 2:] * (2 * jitter + 1)).long() - jitter
    return torch.stack([first, first + torch.tensor(PLACES, device=place.device)[place] * (patch + gap) + off], 1)


def pairs(images: Tensor, place: Tensor, luck: Tensor) -> Tensor:
    """Both patches of each image: (B, C, H, H) -> (B, 2, C, p, p); place and luck as `corners` takes them."""
    side = images.shape[-1]
    y, x = (corners(side, place, luck)[..., None] + torch.arange(layout(side).patch, device=images.device)).unbind(2)
    which = torch.arange(len(images), device=images.device)[:, None, None, None]
    return images[which, :, y[..., None], x[..., None, :]].movedim(-1, 2)


class ColourGuard(nn.Module):
    """Patches whose colour fringes do not tell where in the lens they were (arXiv:1505.05192, section 3.1).

    `drop`: of each patch all channels but one become noise of a hundredth of that one's deviation. `project`: colours
    lose what they have along green against magenta. Nothing is done to grey images. Call `turn()` after the yield.
    mean, std: how the images are normalised.
    """

    def __init__(self, how: Literal["drop", "project", "none"], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.how, self.mean, self.std, self.luck = how, mean, std, Luck()

    def forward(self, patches: Tensor) -> Tensor:
        """(B, 2, C, p, p) -> the same shape."""
        if self.how == "none" or patches.shape[2] == 1:
            return patches
        return self.dropped(patches) if self.how == "drop" else self.projected(patches)

    def dropped(self, patches: Tensor) -> Tensor:
        channels = patches.shape[2]
        luck = self.luck(patches, 2, 1 + patches[0, 0].numel())
        keep = (luck[..., :1] * channels).long()[..., None, None]
        noise = torch.special.ndtri(luck[..., 1:].clamp(1e-6, 1 - 1e-6)).view_as(patches)
        deviation = patches.std((3, 4), keepdim=True).gather(2, keep)
        return torch.where(
            torch.arange(channels, device=keep.device).view(-1, 1, 1) == keep, patches, noise * deviation / 100
        )

    def projected(self, patches: Tensor) -> Tensor:
        mean, std = (patches.new_tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        axis = patches.new_tensor([-1, 2, -1]).view(-1, 1, 1)
        rgb = patches * std + mean
        return (rgb - axis * (axis * rgb).sum(2, keepdim=True) / 6 - mean) / std

    def turn(self) -> None:
        self.luck.turn()

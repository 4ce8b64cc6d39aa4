"""Two networks against one another in one backward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.nets.decoder import halvings, widths


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradients[0], None


def reverse(x: Tensor, scale: float) -> Tensor:
    """x; backwards, -scale times the gradient (Ganin and Lempitsky 2015, arXiv:1409.7495, equations 8 and 9)."""
    return _Reverse.apply(x, scale)  # type: ignore[no-untyped-call]


class Discriminator(nn.Sequential):
    """Images (B, channels, side, side) -> how real they look (B,), a logit: convolutions down to 4 pixels or less.

    No norm on the pixels and BatchNorm behind (Radford et al. 2015, arXiv:1511.06434, section 3).
    """

    def __init__(self, channels: int, side: int, width: int) -> None:
        sides = halvings(side)
        inside, *wider = widths(width, len(sides))
        layers: list[nn.Module] = [nn.Conv2d(channels, inside, 3, 1, 1), nn.LeakyReLU(0.2)]
        for outside in wider:
            layers += [nn.Conv2d(inside, outside, 3, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.LeakyReLU(0.2)]
            inside = outside
        super().__init__(*layers, nn.Conv2d(inside, 1, sides[-1]), nn.Flatten(0))

    def against(self, real: Tensor, made: Tensor, weight: float) -> Tensor:
        """-log D(real) - log(1 - D(made)), the mean, which D makes small and who made `made`, `weight` times, large.

        That is the minimax of Goodfellow et al. 2014, arXiv:1406.2661, equation 1, in one backward pass.
        """
        known, guessed = self(real).float(), self(reverse(made, weight)).float()
        return F.softplus(-known).mean() + F.softplus(guessed).mean()

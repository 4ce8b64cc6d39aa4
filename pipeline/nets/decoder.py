"""Features back to pixels."""

from __future__ import annotations

from torch import Tensor, nn


def halvings(side: int) -> list[int]:
    """Sides from `side` down, each half of the one before (rounded up), until 4 or less."""
    sides = [side]
    while sides[-1] > 4:
        sides.append((sides[-1] + 1) // 2)
    return sides


def widths(width: int, count: int) -> list[int]:
    """Of so many layers: the first is `width` wide, each further one twice as wide, up to eight times."""
    return [width * min(2**layer, 8) for layer in range(count)]


class Decoder(nn.Sequential):
    """Features (B, dim) or maps (B, dim, h, w) -> images (B, channels, side, side).

    Each place becomes a small square; then the picture doubles, with a convolution, a BatchNorm and a ReLU each time,
    until it has that side, where it is `width` wide. Nearest neighbours instead of transposed convolutions: no
    checkerboard.
    """

    def __init__(self, dim: int, channels: int, side: int, width: int) -> None:
        sides = halvings(side)
        *outer, first = widths(width, len(sides))
        layers: list[nn.Module] = [nn.ConvTranspose2d(dim, first, sides[-1], sides[-1], bias=False)]
        inside = first
        for one, outside in zip(reversed(sides[:-1]), reversed(outer), strict=True):
            layers += [nn.BatchNorm2d(inside), nn.ReLU(), nn.Upsample((one, one))]
            layers += [nn.Conv2d(inside, outside, 3, 1, 1, bias=False)]
            inside = outside
        fit = nn.Upsample((side, side))  # what began as a map of several places and never doubled
        super().__init__(*layers, nn.BatchNorm2d(inside), nn.ReLU(), fit, nn.Conv2d(inside, channels, 3, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z if z.ndim == 4 else z[..., None, None])

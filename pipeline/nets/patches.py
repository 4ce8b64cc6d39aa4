"""Images as grids of overlapping patches, and networks that read such a grid row by row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.encoder import Encoder
from pipeline.nets.evaluating import evaluating
from pipeline.nets.luck import Luck
from pipeline.nets.tiles import gap


def cut(images: Tensor, patch: int, stride: int) -> Tensor:
    """Squares of side p, `stride` apart: (B, C, S, S) -> (B, G, G, C, p, p), G = (S - p) // stride + 1."""
    return images.unfold(2, patch, stride).unfold(3, patch, stride).permute(0, 2, 3, 1, 4, 5)


def check_patches(encoder: Encoder, patch: int, stride: int, reach: int) -> None:
    """Raises ParamsError unless the encoder sees patches, each on its own, and the grid has `reach` + 1 rows."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules()):
        raise ParamsError("BatchNorm tells the patches of an image about one another: set encoder.norm to layer")
    size = encoder.spec["size"]
    rows = (size - patch) // stride + 1
    if rows <= reach:
        raise ParamsError(
            f"patches of {patch}, {stride} apart, make {max(rows, 0)} rows of {size} pixels; "
            f"predictions reach {reach} rows down"
        )
    check_sees(encoder, patch)


def check_sees(encoder: Encoder, patch: int) -> None:
    """Raises ParamsError unless the encoder takes images of `patch` pixels, whatever size it was made for."""
    try:
        with evaluating(encoder), torch.no_grad():
            encoder(torch.zeros(2, encoder.spec["channels"], patch, patch))
    except Exception as error:  # whatever a network of timm says of images of another size
        raise ParamsError(f"encoder {encoder.spec['name']!r} cannot see patches of {patch} pixels: {error}") from None


def check_tiles(encoder: Encoder, grid: int) -> None:
    """Raises ParamsError unless its images can be cut into grid x grid tiles, and the encoder sees tiles."""
    size = encoder.spec["size"]
    if size < 2 * grid:
        raise ParamsError(f"{grid} x {grid} tiles of {size} pixels are single pixels; images must have {2 * grid}")
    check_sees(encoder, size // grid - gap(size, grid))


class PatchNoise(nn.Module):
    """Each patch changed by itself, so that neighbours are not known by their colour and light.

    With probability `flip` mirrored; with probability `drop` all but one of its colours at the mean (Henaff et al.
    2019, arXiv:1905.09272, section 3.1: color dropping); contrast and brightness off by up to `jitter`. Call `turn()`
    after the yield.
    """

    def __init__(self, flip: float, drop: float, jitter: float) -> None:
        super().__init__()
        self.flip, self.drop, self.jitter, self.luck = flip, drop, jitter, Luck()

    def forward(self, patches: Tensor) -> Tensor:
        """(B, G, G, C, p, p), normalised -> the same shape."""
        grid, channels = patches.shape[1:3], patches.shape[3]
        flip, drop, keep, contrast, brightness = self.luck(patches, *grid, 5)[..., None, None, None].unbind(3)
        patches = torch.where(flip < self.flip, patches.flip(-1), patches)
        kept = (keep * channels).long() == torch.arange(channels, device=patches.device).view(-1, 1, 1)
        patches = torch.where((drop < self.drop) & (channels > 1) & ~kept, 0, patches)
        return patches * (1 + self.jitter * (2 * contrast - 1)) + self.jitter * (2 * brightness - 1)

    def turn(self) -> None:
        self.luck.turn()


class PixelCNN(nn.Module):
    """Five residual blocks over a grid; a row sees itself and the rows above (arXiv:1905.09272, appendix A.2)."""

    def __init__(self, dim: int, hidden: int, blocks: int = 5) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(dim, hidden, 1),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, (1, 3), padding=(0, 1)),
                nn.ZeroPad2d((0, 0, 1, 0)),
                nn.Conv2d(hidden, hidden, (2, 1)),
                nn.ReLU(),
                nn.Conv2d(hidden, dim, 1),
            )
            for _ in range(blocks)
        )

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, rows, columns) -> the same shape."""
        for block in self.blocks:
            z = z + block(z)
        return z.relu()


class RowPredictor(nn.Module):
    """What each context predicts of the rows below it: (B, G, G, dim) -> (B, G, G, steps, out)."""

    def __init__(self, dim: int, hidden: int, steps: int, out: int) -> None:
        super().__init__()
        self.context, self.steps = PixelCNN(dim, hidden), steps
        self.predict = nn.Conv2d(dim, steps * out, 1)

    def forward(self, z: Tensor) -> Tensor:
        predicted = self.predict(self.context(z.permute(0, 3, 1, 2)))
        return predicted.permute(0, 2, 3, 1).unflatten(3, (self.steps, -1))

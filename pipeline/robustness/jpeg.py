"""What JPEG loses, for a whole batch on any device: arithmetic of the baseline format, without its lossless coding."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.robustness import lines
from pipeline.robustness.draws import Draws

# Quantisation of the examples in Annex K of the standard (ITU T.81), which encoders scale by their `quality`.
LUMINANCE = """
16 11 10 16  24  40  51  61    12 12 14 19  26  58  60  55    14 13 16 24  40  57  69  56    14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77    24 35 55 64  81 104 113  92    49 64 78 87 103 121 120 101    72 92 95 98 112 100 103  99
"""
CHROMINANCE = """
17 18 24 47 99 99 99 99    18 21 26 66 99 99 99 99    24 26 56 99 99 99 99 99    47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99    99 99 99 99 99 99 99 99    99 99 99 99 99 99 99 99    99 99 99 99 99 99 99 99
"""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))  # JFIF
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, _: Draws, quality: int) -> Tensor:
    """Saved with `quality` and read again, colour at half the resolution (4:2:0), as Pillow and libjpeg do it.

    Colours are rounded to bytes wherever a file or a decoder holds bytes. Grey images have no colour planes.
    """
    levels = images * 255
    if images.shape[1] == 1:
        return (coded(levels - 128, LUMINANCE, quality) + 128).round().clamp_(0, 255) / 255
    height, width = images.shape[2:]
    ycc = _mixed(levels, TO_YCC).round()
    y = coded(ycc[:, :1] - 128, LUMINANCE, quality) + 128
    colour = F.pad(ycc[:, 1:], (0, -width % 16, 0, height % 2), "replicate")
    bias = torch.tensor([0.25, 0.5], device=images.device).repeat(colour.shape[3] // 4 + 1)[: colour.shape[3] // 2]
    colour = coded((F.avg_pool2d(colour, 2) + bias).floor(), CHROMINANCE, quality)
    colour = colour[:, :, : (height + 1) // 2, : (width + 1) // 2].round().clamp_(-128, 127)
    colour = lines.product(colour, *(_doubling(n).to(images) for n in colour.shape[2:]))[:, :, :height, :width].round()
    return _mixed(torch.cat([y.round().clamp_(0, 255), colour], 1), TO_RGB).round().clamp_(0, 255) / 255


def coded(planes: Tensor, table: str, quality: int) -> Tensor:
    """(B, C, H, W) about zero: cosine transform of each 8 x 8 block, rounded to multiples of the table, and back."""
    height, width = planes.shape[2:]
    padded = F.pad(planes, (0, -width % 8, 0, -height % 8), "replicate")
    blocks = padded.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    cosines, steps = _cosines().to(planes), _steps(table, quality).to(planes)
    # libjpeg's transform gives whole eighths, so that ties are frequent, and goes away from zero at them
    eighths = (lines.product(blocks, cosines, cosines) * 8).round()
    held = eighths.sign() * (eighths.abs() / (8 * steps) + 0.5).floor() * steps
    back = lines.product(held, cosines.mT, cosines.mT)
    return back.transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]


@lru_cache
def _cosines() -> Tensor:
    """The orthonormal DCT-II of 8 values."""
    k, n = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    matrix = torch.cos(math.pi / 8 * (n + 0.5) * k) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


@lru_cache
def _steps(table: str, quality: int) -> Tensor:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return torch.tensor([min(max((int(step) * scale + 50) // 100, 1), 255) for step in table.split()]).view(8, 8)


@lru_cache(16)
def _doubling(n: int) -> Tensor:
    """(2 n, n): each new value three quarters of the nearest and one of the next, the last ones repeated."""
    near = torch.eye(n, dtype=torch.float64)
    before, after = near[[0, *range(n - 1)]], near[[*range(1, n), n - 1]]
    return torch.stack([0.75 * near + 0.25 * before, 0.75 * near + 0.25 * after], 1).flatten(0, 1)


def _mixed(images: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Each pixel's colour times `matrix`."""
    return torch.einsum("dc,bchw->bdhw", images.new_tensor(matrix), images)

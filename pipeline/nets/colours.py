"""Colour as classes: the ab plane of Lab in squares, and how rare each of them is."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import gather
from pipeline.nets.encoder import Encoder
from pipeline.nets.lab import lab

GRID = 10
"""Distance of two bins (Zhang et al. 2016, arXiv:1603.08511, section 2.1)."""


@cache
def ab_bins() -> Tensor:
    """Points (309, 2) of a grid over ab: the corners of each square that holds a colour of 8-bit sRGB.

    So each colour lies between four bins, also at the edge of the gamut. The paper counts 313; 261 are the nearest bin
    of some colour. The faces of the RGB cube suffice: what is inside it has the ab of a colour on a face.
    """
    level = torch.arange(256) / 255
    u, v = torch.meshgrid(level, level, indexing="ij")
    ends = [torch.full_like(u, end) for end in (0, 1)]
    faces = [torch.stack(face) for end in ends for face in ((end, u, v), (u, end, v), (u, v, end))]
    held = torch.zeros(1, 1, 25, 25)
    a, b = (lab(torch.stack(faces))[:, 1:] / GRID).floor().long().unbind(1)
    held[0, 0, a + 12, b + 12] = 1
    corners = F.max_pool2d(held, 2, 1, 1)[0, 0]  # of the square (a, b): (a, b) to (a + 1, b + 1)
    return (corners.nonzero() - 12).float() * GRID


def soft_encode(ab: Tensor, bins: Tensor, sigma: float, neighbours: int = 5) -> Tensor:
    """Shares (n, Q) of colours (n, 2) in their nearest bins (Q, 2): Gaussians of their distances, the sum 1."""
    distance = torch.cdist(ab, bins, compute_mode="donot_use_mm_for_euclid_dist")
    near = distance.topk(neighbours, largest=False)
    shares = (-near.values.square() / (2 * sigma**2)).softmax(1)
    return torch.zeros_like(distance).scatter_(1, near.indices, shares)


def rebalanced(share: Tensor, lam: float) -> Tensor:
    """w ((1 - lam) p + lam / Q)^-1 of bins with shares p (Q,), the mean over p 1 (arXiv:1603.08511, equation 4)."""
    w = 1 / ((1 - lam) * share + lam / len(share))
    return w / (share * w).sum()


def check_lightness(encoder: Encoder, method: str) -> None:
    """Raises ParamsError unless there is colour, and the encoder does not see it."""
    if encoder.spec["channels"] == 1:
        raise ParamsError(f"{method}: grey images have no colour to predict; set data.channels to 3")
    if encoder.spec["sees"] != ["L"]:
        raise ParamsError(f"{method}: what an encoder sees of colours gives the answer away; set encoder.sees to [L]")


class Palette(nn.Module):
    """The bins as classes, and the share of each in the images that training has seen.

    The share is a running mean over the steps, after each one `follow`; at first all bins are alike. `lam` 1 weighs all
    bins the same.
    """

    bins: Tensor
    mean: Tensor
    std: Tensor
    share: Tensor
    updates: Tensor

    def __init__(self, encoder: Encoder, lam: float, sigma: float, m: float = 0.999) -> None:
        super().__init__()
        self.lam, self.sigma, self.m = lam, sigma, m
        self.register_buffer("bins", ab_bins().clone(), persistent=False)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(encoder.spec[name]).view(-1, 1, 1), persistent=False)
        self.register_buffer("share", torch.full((len(self.bins),), 1 / len(self.bins)))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, height: int, width: int) -> Tensor:
        """Soft classes (B * height * width, Q) of normalised images (B, 3, H, W), their ab averaged to that size."""
        with torch.autocast(images.device.type, enabled=False):
            ab = F.adaptive_avg_pool2d(lab(images.float() * self.std + self.mean)[:, 1:], (height, width))
            return soft_encode(ab.permute(0, 2, 3, 1).flatten(0, 2), self.bins, self.sigma)

    def weight(self, z: Tensor) -> Tensor:
        """v (n,) of soft classes z (n, Q): how rare the nearest bin is (arXiv:1603.08511, equation 3)."""
        return rebalanced(self.share, self.lam)[z.argmax(1)]

    @torch.no_grad()
    def follow(self, z: Tensor) -> None:
        """Take the soft classes (n, Q) of all processes into the shares; the uniform start counts as one step."""
        total = gather(z.sum(0, keepdim=True)).sum(0)
        self.updates += 1
        self.share.lerp_(total / total.sum(), (1 / (self.updates + 1)).clamp_min(1 - self.m))

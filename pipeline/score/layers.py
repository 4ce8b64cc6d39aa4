"""Where in an encoder the classes can be read: a linear probe and kNN at every depth."""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.nets.encoder import Encoder
from pipeline.nets.evaluating import evaluating
from pipeline.score.accuracy import top_k, wilson
from pipeline.score.knn import knn
from pipeline.score.linear import linear
from pipeline.seed import generator

DEPTHS, FEATURES, SIDE = 12, 1024, 3  # at most so many depths, features of a depth, cells along a side
LABELS = 1000  # labelled images that are read from: with 5,000 the probes of all depths take minutes


class Trunk(nn.Module):
    """(B, C, H, W) -> (B, sum of `widths`): the map of each depth, averaged over a grid of `side` x `side` cells.

    The side is the largest up to 3 that gives at most 1,024 features: depths are compared at about the same number of
    them. Papers allow about 9,000 (Goyal et al. 2019, arXiv:1905.01235); a few labels cannot use so many. Depth 0 is
    nearest the image; of more than 12 depths, 12 at equal distances. Raises ParamsError for a network without maps.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, spec = encoder, encoder.spec
        blank = torch.zeros(1, spec["channels"], spec["size"], spec["size"], device=next(encoder.parameters()).device)
        with evaluating(encoder), torch.no_grad():
            shapes = [map.shape[1:] for map in encoder.maps(blank)]
        last, shown = len(shapes) - 1, min(DEPTHS, len(shapes))
        self.depths = [round(last * i / max(1, shown - 1)) for i in range(shown)]
        self.channels = [shapes[depth][0] for depth in self.depths]
        self.sides = [
            max(1, min(SIDE, isqrt(FEATURES // c), *shapes[d][1:]))
            for d, c in zip(self.depths, self.channels, strict=True)
        ]
        self.widths = [c * side**2 for c, side in zip(self.channels, self.sides, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder.maps(x)
        cells = [F.adaptive_avg_pool2d(maps[d].float(), side) for d, side in zip(self.depths, self.sides, strict=True)]
        return torch.cat([each.flatten(1) for each in cells], 1)


def readable(images: int, seed: int) -> Tensor:
    """Rows of the labelled images that the probes of all depths read from: every one, or 1,000 by lot."""
    return torch.randperm(images, generator=generator(seed, "labels for layers"))[:LABELS].sort().values


def score_layers(
    trunk: Trunk,
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    classes: int,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row for each depth: its grid, how many labels, the test accuracy of a linear probe (95 % interval) and of kNN.

    Features (m, D) of the labelled images and (n, D) of the test images, as `trunk` gives them.
    """
    rows = []
    each = (train_features.split(trunk.widths, 1), test_features.split(trunk.widths, 1))
    for place, (train, test) in enumerate(zip(*each, strict=True)):
        share = linear(train, train_labels, test, test_labels, classes, seed)[0]
        low, high = wilson(share, len(test))
        grid = {"channels": trunk.channels[place], "side": trunk.sides[place], "features": trunk.widths[place]}
        read = {"labels": len(train), "linear": share, "low": low, "high": high}
        near = top_k(knn(train, train_labels, test, classes), test_labels, 1)
        rows.append({"depth": trunk.depths[place], **grid, **read, "knn": near})
    return rows

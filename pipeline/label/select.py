"""Which pseudo-labels a student learns from, and how often it sees each.

Noisy Student (Xie et al. 2020, arXiv:1911.04252, section 3.2: data filtering and balancing). Where its code writes an
image several times, or not at all, here is an integer weight; its random number is a hash of the image's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from pipeline.params import Select
from pipeline.seed import fraction

EDGES = [i / 100 for i in range(101)]


@dataclass(frozen=True)
class Selection:
    """`rows` int64 (M,), ascending, and `weights` int64 (M,) >= 1; `thresholds`: the confidence each class asks for."""

    rows: Tensor
    weights: Tensor
    thresholds: list[float]
    floor: float

    def once(self) -> Selection:
        """The same images, none of them more than once."""
        return replace(self, weights=torch.ones_like(self.weights))

    def pseudo(self, guess: Tensor) -> Tensor:
        """The class of each image that was selected, -1 of the others: int64 (N,), as `guess`."""
        return torch.full_like(guess, -1).index_copy(0, self.rows, guess[self.rows])


def select(
    confidence: Tensor, guess: Tensor, keys: Sequence[str], params: Select, seed: int, classes: int
) -> Selection:
    """confidence fp32 (N,), guess int64 (N,). The order of the rows does not change which keys get which weight.

    With n_c(t) = images guessed c with confidence >= t, and quota q:

        t_c = the highest of floor, 0.00, 0.01, ..., 1.00 that is >= floor and has n_c(t) >= q; else the floor
        weight = floor(q / n_c(t_c)) + [u(key) < q / n_c(t_c) - floor(q / n_c(t_c))],   u(key) uniform in [0, 1)

    so a class with too few images counts them several times, and one with too many is thinned at random. Without a
    quota, every image at or above the floor has weight 1.
    """
    edges = [params.threshold, *(edge for edge in EDGES if edge > params.threshold)]
    weights, thresholds = torch.zeros(len(keys), dtype=torch.int64), []
    counts = guess.bincount(minlength=classes).tolist()
    for mine in guess.argsort(stable=True).split(counts):  # the rows of each class, without a pass over all for each
        sure = confidence[mine]
        reaching = len(mine) - torch.searchsorted(sure.sort().values, torch.tensor(edges))  # n_c(t) of each edge
        enough = (reaching >= (params.quota or inf)).nonzero().flatten().tolist()
        t = enough[-1] if enough else 0
        n = int(reaching[t])
        thresholds.append(edges[t])
        if n == 0:
            continue
        whole, part = divmod(params.quota or n, n)
        chosen = mine[sure >= torch.tensor(edges[t])]
        coins = [fraction(seed, "select", keys[row]) < part / n for row in chosen.tolist()] if part else False
        weights[chosen] = whole + torch.as_tensor(coins, dtype=torch.int64)
    rows = weights.nonzero().flatten()
    return Selection(rows, weights[rows], thresholds, params.threshold)

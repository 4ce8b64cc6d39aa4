"""Which images frozen features put beside one another. Every image is looked for among all others, never itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.seed import number

CELLS = 1 << 22  # similarities held at a time: 32 MiB in fp64
SHOWN, QUERIES = 8, 10  # neighbours of a query that are shown; queries


def nearest(features: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and rows (len(rows), k) of the k other rows of `features` (n, D) nearest to `rows`, nearest first.

    Of equals the lower row comes first: cosines are fp64 rounded to fp32, so that equal rows are equally near.
    """
    unit = F.normalize(features.double(), dim=1)
    cos = (unit[rows] @ unit.T).float()
    cos[torch.arange(len(rows)), rows] = -torch.inf
    found = cos.sort(dim=1, descending=True, stable=True)
    k = min(k, len(features) - 1)
    return found.values[:, :k], found.indices[:, :k]


def score_retrieval(features: Tensor, labels: Tensor, k: int = SHOWN) -> dict[str, float | None]:
    """`map`: mean average precision of all n images as queries; `precision_at_8`: share of their class among 8.

    features (n, D), labels (n,). A query that is alone in its class counts in neither; None where all are.
    """
    average, first = [], []
    for rows in torch.arange(len(labels)).split(max(1, CELLS // len(labels))):
        hit = labels[nearest(features, rows, len(labels))[1]] == labels[rows, None]
        hit = hit[hit.any(1)].double()
        precision = hit.cumsum(1) / torch.arange(1, hit.shape[1] + 1)
        average.append((precision * hit).sum(1) / hit.sum(1))
        first.append(hit[:, :k].mean(1))
    if not sum(map(len, average)):
        return {"map": None, f"precision_at_{k}": None}
    return {"map": torch.cat(average).mean().item(), f"precision_at_{k}": torch.cat(first).mean().item()}


def queries(labels: Tensor, seed: int) -> Tensor:
    """The row of one image of each class (of at most 10 classes), drawn from the seed: the same for every model."""
    classes = sorted(labels.unique().tolist(), key=lambda c: number(seed, "class of a query", c))[:QUERIES]
    own = [(labels == c).nonzero().flatten().tolist() for c in sorted(classes)]
    return torch.tensor(
        [rows[number(seed, "query", c) % len(rows)] for c, rows in zip(sorted(classes), own, strict=True)]
    )


def table(
    keys: Sequence[str],
    labels: Sequence[int],
    classes: Sequence[str],
    rows: Tensor,
    cosines: Tensor,
    neighbours: Tensor,
) -> list[dict[str, Any]]:
    """One row for each query and rank, with names instead of numbers."""
    return [
        {
            "query": keys[row],
            "class": classes[labels[row]],
            "rank": rank,
            "neighbour": keys[other],
            "neighbour_class": classes[labels[other]],
            "cosine": round(cosine, 4),
        }
        for row, near, how in zip(rows.tolist(), neighbours.tolist(), cosines.tolist(), strict=True)
        for rank, (other, cosine) in enumerate(zip(near, how, strict=True), 1)
    ]

"""Whether a selection keeps out what belongs to no class: not to select an image is to reject it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.label.select import EDGES, Selection
from pipeline.label.truth import OUT_OF_CLASS, UNKNOWN, share


def rejection(confidence: Tensor, selection: Selection, true: Tensor) -> dict[str, Any]:
    """confidence fp32 (N,), `true` (N,) as `true_classes` gives it; images of which nothing is known do not count.

    `n` images are of no class, and `selected` of them were selected all the same. `recall`: share of the n that was
    rejected. `precision`: share of the rejected that is of no class. `auroc`: how often an image of some class is surer
    than one of none, equals by half. `fpr95`: share of the images of no class that are as sure as the
    least sure of the surest 95 % of those of some class. `by_threshold`: recall and precision of rejecting what is
    below each threshold of the audit. None where there is nothing to be a share of.
    """
    known, out = true != UNKNOWN, true == OUT_OF_CLASS
    rejected = known.clone()
    rejected[selection.rows] = False
    below = [known & (confidence < torch.tensor(edge)) for edge in EDGES] if out.any() else []
    return {
        "n": int(out.sum()),
        "known": int(known.sum()),
        "selected": int((out & ~rejected).sum()),
        "recall": share(rejected, out),
        "precision": share(out, rejected) if out.any() else None,
        "auroc": _auroc(confidence[known], true[known] >= 0),
        "fpr95": _fpr95(confidence[true >= 0], confidence[out]),
        "by_threshold": {
            "recall": [share(rows, out) for rows in below],
            "precision": [share(out, rows) for rows in below],
        },
    }


def _auroc(confidence: Tensor, inside: Tensor) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(inside, confidence)) if inside.any() and not inside.all() else None


def _fpr95(inside: Tensor, outside: Tensor) -> float | None:
    if not (len(inside) and len(outside)):
        return None
    edge = inside.sort(descending=True).values[-(-95 * len(inside) // 100) - 1]
    return (outside >= edge).double().mean().item()

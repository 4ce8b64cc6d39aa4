"""Top-k, per-class accuracy, confusion, and how sure a share of n samples can be."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor

BLOCK = 4096  # rows worked on at a time: 10^6 x 1000 logits need no second copy


def top_k(logits: Tensor, labels: Tensor, k: int) -> float:
    """Share of rows of `logits` (n, K) whose label (n,) is among the k largest. Of equals the lower class wins."""
    blocks = zip(logits.split(BLOCK), labels.split(BLOCK), strict=True)
    return sum(int((ranks(rows, label) < k).sum()) for rows, label in blocks) / len(labels)


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the label (n,) in each row of `logits` (n, K); of equals the lower class does."""
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(1)


def confusion(guess: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (K, K): row = actual class, column = predicted class."""
    return torch.bincount(labels * classes + guess, minlength=classes * classes).view(classes, classes)


def per_class(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of `by_class` for logits (n, K) and labels (n,)."""
    return by_class(confusion(logits.argmax(1), labels, len(classes)), classes)


def by_class(counts: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per class: n, accuracy (its recall), guessed, precision. What has nothing to be a share of is None.

    counts (K, K) as `confusion` gives them.
    """
    right, n, guessed = (counts.diagonal().tolist(), counts.sum(1).tolist(), counts.sum(0).tolist())
    return [
        {"class": name, "n": m, "accuracy": r / m if m else None, "guessed": g, "precision": r / g if g else None}
        for name, r, m, g in zip(classes, right, n, guessed, strict=True)
    ]


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share of n samples (Wilson 1927): stays inside [0, 1], also at 0 and 1."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)

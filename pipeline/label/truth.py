"""What is known of the images that a teacher labels: the true classes that benchmarks hide from all but the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

OUT_OF_CLASS, UNKNOWN = -1, -2


def true_classes(keys: Sequence[str], truth: Mapping[str, int]) -> Tensor:
    """int64 (N,): the class of each key, -1 for an image of none of them, -2 where `truth` does not say."""
    return torch.tensor([truth.get(key, UNKNOWN) for key in keys], dtype=torch.int64)


def share(of: Tensor, among: Tensor) -> float | None:
    """The share of `among` (N,) that is in `of` (N,), both masks; None of nothing."""
    n = int(among.sum())
    return int((of & among).sum()) / n if n else None

"""The weighted k-nearest-neighbour classifier of Wu et al. 2018 (arXiv:1805.01978, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 1 << 24  # similarities held at a time: 64 MiB in fp32
K, TAU = 20, 0.07


def knn(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, classes: int, k: int = K, tau: float = TAU
) -> Tensor:
    """Votes (n, K), fp64: exp(cos / tau) of the k nearest training rows, summed by their class. argmax is the guess.

    train_features (m, D), train_labels (m,), test_features (n, D); k is at most m.
    """
    train, k = F.normalize(train_features.float(), dim=1), min(k, len(train_features))
    votes = torch.zeros(len(test_features), classes, dtype=torch.float64, device=train.device)
    step = max(1, CELLS // len(train))
    for rows, out in zip(test_features.split(step), votes.split(step), strict=True):
        cos, neighbour = (F.normalize(rows.float(), dim=1) @ train.T).topk(k, dim=1)
        out.scatter_add_(1, train_labels[neighbour], (cos.double() / tau).exp())
    return votes

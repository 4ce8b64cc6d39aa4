"""Whether a confidence of 80 % means right in 80 % of the cases (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

from math import exp, log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.score.accuracy import BLOCK

COLDEST, HOTTEST = (0.05, 20.0)  # where every sample is right (or chance is best) the likelihood has no optimum in T


def nll(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """Mean of -log softmax(logits / temperature)[label], in nats. logits (n, K), labels (n,)."""
    total = 0.0
    for rows, label in zip(logits.split(BLOCK), labels.split(BLOCK), strict=True):
        total += F.cross_entropy(rows.double() / temperature, label, reduction="sum").item()
    return total / len(labels)


def brier(probabilities: Tensor, labels: Tensor) -> float:
    """Mean of sum_c (p_c - [c = label])^2: 0 is perfect, 2 is sure and wrong. probabilities (n, K), labels (n,)."""
    total = 0.0
    for rows, label in zip(probabilities.split(BLOCK), labels.split(BLOCK), strict=True):
        rows = rows.double()
        own = rows.gather(1, label[:, None]).squeeze(1)
        total += (rows.square().sum(1) - 2 * own + 1).sum().item()
    return total / len(labels)


def reliability(confidence: Tensor, right: Tensor, bins: int = 15) -> list[dict[str, Any]]:
    """Rows {lo, hi, n, confidence, accuracy} of `bins` equal bins (lo, hi]; the means of an empty bin are None.

    confidence (n,): the largest probability of each sample; right (n,): whether its class was the true one.
    """
    edges = [i / bins for i in range(bins + 1)]
    inner = torch.tensor(edges[1:-1], dtype=confidence.dtype, device=confidence.device)
    where = torch.bucketize(confidence.contiguous(), inner)  # inner[i-1] < confidence <= inner[i]
    n = torch.bincount(where, minlength=bins).tolist()
    sure = torch.bincount(where, confidence.double(), minlength=bins).tolist()
    true = torch.bincount(where, right.double(), minlength=bins).tolist()
    return [
        {"lo": lo, "hi": hi, "n": m, "confidence": s / m if m else None, "accuracy": t / m if m else None}
        for lo, hi, m, s, t in zip(edges, edges[1:], n, sure, true, strict=False)
    ]


def gap(rows: list[dict[str, Any]]) -> float:
    """ECE of the rows of `reliability`: sum over bins of n_b/n |accuracy_b - confidence_b|."""
    filled = [row for row in rows if row["n"]]
    return sum(r["n"] * abs(r["accuracy"] - r["confidence"]) for r in filled) / sum(r["n"] for r in filled)


def ece(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error with bins (a, b], a share of 1. probabilities (n, K), labels (n,)."""
    confidence, guess = probabilities.max(1)
    return gap(reliability(confidence, guess == labels, bins))


def by_confidence(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both (n,) in fp64, the surest sample first. Those of equal confidence share their mean of `right`.

    So nothing that is read from the order depends on the order in which the samples came.
    """
    levels, level, n = confidence.double().unique(return_inverse=True, return_counts=True)
    share = torch.bincount(level, right.double()) / n
    n = n.flip(0)
    return levels.flip(0).repeat_interleave(n), share.flip(0).repeat_interleave(n)


def adaptive_ece(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """AdaECE (Mukhoti et al. 2020, arXiv:2002.09437): sum_b n_b/n |accuracy_b - confidence_b| over bins of equal mass.

    Sorted by confidence, sample i of n is in bin floor(bins i / n): the sizes differ by one at most. confidence (n,):
    the largest probability of each sample; right (n,): whether its class was the true one.
    """
    sure, true = by_confidence(confidence, right)
    where = torch.arange(len(sure)) * bins // len(sure)
    return torch.bincount(where, true - sure).abs().sum().item() / len(sure)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T in [0.05, 20] that minimises nll(logits / T, labels). Measure it on other samples than these."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda t: nll(logits, labels, exp(t)), bounds=(log(COLDEST), log(HOTTEST)), method="bounded"
    )
    return exp(found.x)

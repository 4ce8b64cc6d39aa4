"""Everything `evaluate` says about one classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import Diverged
from pipeline.score.accuracy import BLOCK, per_class, top_k, wilson
from pipeline.score.calibration import brier, gap, nll, reliability

Rows = list[dict[str, Any]]


def score_classifier(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Metrics and tables of logits (n, K) against labels (n,). Raises Diverged where a logit is not finite.

    Metrics: n, top1 with its 95 % interval top1_low..top1_high, top5 (top-K below 5 classes), mean_class_accuracy (over
    the classes that occur), nll, brier, ece. Tables: per_class; confusion, one row {actual, predicted} per sample, as
    `dvc plots` counts them; reliability.
    """
    n, total = len(labels), 0.0
    confidence, guess = (torch.empty(n, dtype=torch.float64), torch.empty(n, dtype=torch.int64))
    for start in range(0, n, BLOCK):
        span = slice(start, min(start + BLOCK, n))
        probabilities = logits[span].double().softmax(1)
        if not probabilities.isfinite().all():
            raise Diverged("the network gives logits that are not finite: its weights are broken; train it again")
        confidence[span], guess[span] = (probabilities.max(1).values, logits[span].argmax(1))
        total += brier(probabilities, labels[span]) * len(probabilities)
    table, bins = (per_class(logits, labels, classes), reliability(confidence, guess == labels.cpu()))
    top1 = top_k(logits, labels, 1)
    low, high = wilson(top1, n)
    occurring = [row["accuracy"] for row in table if row["n"]]
    metrics = {
        "n": n,
        "top1": top1,
        "top1_low": low,
        "top1_high": high,
        "top5": top_k(logits, labels, min(5, len(classes))),
        "mean_class_accuracy": sum(occurring) / len(occurring),
        "nll": nll(logits, labels),
        "brier": total / n,
        "ece": gap(bins),
    }
    pairs = zip(labels.tolist(), guess.tolist(), strict=True)
    samples = [{"actual": classes[actual], "predicted": classes[predicted]} for actual, predicted in pairs]
    return metrics, {"per_class": table, "confusion": samples, "reliability": bins}

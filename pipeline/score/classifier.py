"""Everything `evaluate` says about one classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import Diverged
from pipeline.score.accuracy import BLOCK, by_class, confusion, ranks, wilson
from pipeline.score.bootstrap import bootstrap
from pipeline.score.calibration import adaptive_ece, brier, gap, nll, reliability
from pipeline.score.selective import selective

Rows = list[dict[str, Any]]


def score_classifier(
    logits: Tensor | Iterable[Tensor],
    labels: Tensor,
    classes: Sequence[str],
    temperature: float | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Metrics and tables of logits (n, K) against labels (n,). Raises Diverged where a logit is not finite.

    The logits may come in blocks (m, K), in order: each is looked at once, and of each sample three numbers are kept.

    Metrics: n; top1 with its 95 % intervals, Wilson's and of the bootstrap; top5 (top-K below 5 classes);
    mean_class_accuracy (over the classes that occur) with that of the bootstrap; nll, brier, ece, adaptive_ece, aurc;
    nll_tempered and ece_tempered, of logits / temperature. What cannot be had is None. Tables: per_class; confusion,
    one row {actual, predicted} per sample, as `dvc plots` counts them; reliability; risk, the curve of `selective`.
    """
    n, labels = len(labels), labels.cpu()
    confidence, tempered = torch.empty(n, dtype=torch.float64), torch.empty(n, dtype=torch.float64)
    guess, place = torch.empty(n, dtype=torch.int64), 0
    total = dict.fromkeys(("top1", "top5", "nll", "brier", "nll_tempered"), 0.0)
    for rows in logits.split(BLOCK) if isinstance(logits, Tensor) else logits:
        rows, span = rows.cpu().double(), slice(place, place + len(rows))
        label, place = labels[span], span.stop
        probabilities = rows.softmax(1)
        if not probabilities.isfinite().all():
            raise Diverged("the network gives logits that are not finite: its weights are broken; train it again")
        confidence[span], guess[span] = probabilities.amax(1), rows.argmax(1)
        rank = ranks(rows, label)
        total["top1"] += int((rank < 1).sum())
        total["top5"] += int((rank < 5).sum())
        total["nll"] += nll(rows, label) * len(rows)
        total["brier"] += brier(probabilities, label) * len(rows)
        if temperature is not None:
            total["nll_tempered"] += nll(rows, label, temperature) * len(rows)
            tempered[span] = (rows / temperature).softmax(1).amax(1)
    if place != n:
        raise ValueError(f"{place} rows of logits for {n} labels")
    mean, right = {key: value / n for key, value in total.items()}, guess == labels
    counts = confusion(guess, labels, len(classes))
    table, bins = by_class(counts, classes), reliability(confidence, right)
    aurc, risk = selective(confidence, right)
    low, high = wilson(mean["top1"], n)
    drawn = bootstrap(counts, seed)
    occurring = [row["accuracy"] for row in table if row["n"]]
    metrics = {
        "n": n,
        "top1": mean["top1"],
        "top1_low": low,
        "top1_high": high,
        "top1_bootstrap_low": drawn["top1"][0],
        "top1_bootstrap_high": drawn["top1"][1],
        "top5": mean["top5"],
        "mean_class_accuracy": sum(occurring) / len(occurring),
        "mean_class_accuracy_low": drawn["mean_class_accuracy"][0],
        "mean_class_accuracy_high": drawn["mean_class_accuracy"][1],
        "nll": mean["nll"],
        "brier": mean["brier"],
        "ece": gap(bins),
        "adaptive_ece": adaptive_ece(confidence, right),
        "aurc": aurc,
        "temperature": temperature,
        "nll_tempered": None if temperature is None else mean["nll_tempered"],
        "ece_tempered": None if temperature is None else gap(reliability(tempered, right)),
    }
    pairs = zip(labels.tolist(), guess.tolist(), strict=True)
    samples = [{"actual": classes[actual], "predicted": classes[predicted]} for actual, predicted in pairs]
    return metrics, {"per_class": table, "confusion": samples, "reliability": bins, "risk": risk}

"""The calibration of a teacher before and after temperature scaling (Guo et al. 2017, arXiv:1706.04599).

T is fitted on half of the images whose class is known, and its worth is measured on the other half. Which half an image
is in is a hash of its key, so that it is the same in every round. T is a finding of the audit: nothing learns from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.label.labels import Labels
from pipeline.label.truth import UNKNOWN
from pipeline.score.calibration import fit_temperature, gap, reliability
from pipeline.seed import fraction

FITTED = 10_000  # images that T is fitted on at most: their logits are held at once, 40 MB of them for 1,000 classes


def calibration(labels: Labels, keys: Sequence[str], true: Tensor, seed: int) -> dict[str, Any]:
    """{ece, nll, reliability, temperature} of what the teacher said; `true` (N,) as `true_classes` gives it.

    ECE and the bins are over all images of which anything is known, and one of no class counts as wrong; NLL is over
    those of a known class. `temperature` is {t, fitted, n, before, after}: T, how many images it was fitted on and
    measured on, and {ece, nll, reliability} with the logits and with logits / T. What cannot be measured is None.
    """
    known, right = true != UNKNOWN, labels.guess() == true
    confidence, loss = labels.confidence(), _scaled(labels, true)[1]

    def measure(confidence: Tensor, loss: Tensor, rows: Tensor) -> dict[str, Any]:
        bins, own = reliability(confidence[rows], right[rows]) if rows.any() else [], loss[rows & (true >= 0)]
        return {
            "ece": gap(bins) if bins else None,
            "nll": own.mean().item() if len(own) else None,
            "reliability": bins,
        }

    page = measure(confidence, loss, known) | {"temperature": None}
    to_fit, other = halves(keys, true, seed)
    if to_fit.any() and (other & (true >= 0)).any():
        logits = torch.cat([logits[to_fit[rows]] for rows, logits in labels.blocks()])
        t = fit_temperature(logits, true[to_fit])
        page["temperature"] = {
            "t": t,
            "fitted": len(logits),
            "n": int(other.sum()),
            "before": measure(confidence, loss, other),
            "after": measure(*_scaled(labels, true, t), other),
        }
    return page


def halves(keys: Sequence[str], true: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Two masks (N,): the images to fit T on, of a known class and at most 10,000, and those to measure it on."""
    known = (true != UNKNOWN).tolist()
    coin = torch.tensor(
        [fraction(seed, "temperature", key) if known[row] else inf for row, key in enumerate(keys)],
        dtype=torch.float64,
    )
    to_fit = (true >= 0) & (coin < 0.5)
    if to_fit.sum() > FITTED:
        to_fit &= coin <= coin[to_fit].kthvalue(FITTED).values
    return to_fit, (coin >= 0.5) & (coin < inf)


def _scaled(labels: Labels, true: Tensor, t: float = 1.0) -> tuple[Tensor, Tensor]:
    """Of softmax(logits / t) the largest probability, fp32 (N,), and -log of the true class's, fp64 (N,)."""
    confidence, loss = torch.empty(len(labels)), torch.empty(len(labels), dtype=torch.float64)
    for rows, logits in labels.blocks():
        log_p = F.log_softmax(logits.double() / t, dim=1)
        confidence[rows] = log_p.amax(1).exp().float()
        loss[rows] = -log_p.gather(1, true[rows].clamp(min=0)[:, None]).squeeze(1)  # meaningless without a class
    return confidence, loss

"""What is left of the errors where a classifier may be silent about the images it is least sure of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.score.calibration import by_confidence

STEPS = 20  # rows of the curve


def selective(confidence: Tensor, right: Tensor) -> tuple[float | None, list[dict[str, Any]]]:
    """AURC, and the curve of risk against coverage in at most 20 rows {coverage, n, confidence, risk}.

    The risk at coverage m / n is the share of errors among the m surest samples; AURC is its mean over m = 1 .. n
    (Geifman et al. 2019, arXiv:1805.08206): 0 where nothing is wrong. `confidence` of a row is that of the last sample
    kept; equally sure samples count by their mean error. confidence (n,), right (n,); of one sample there is no curve.
    """
    n = len(confidence)
    if n < 2:
        return None, []
    sure, true = by_confidence(confidence, right)
    risk = 1 - true.cumsum(0) / torch.arange(1, n + 1)
    rows = [
        {"coverage": m / n, "n": m, "confidence": sure[m - 1].item(), "risk": max(0.0, risk[m - 1].item())}
        for m in sorted({-(-step * n // STEPS) for step in range(1, STEPS + 1)})
    ]
    return max(0.0, risk.mean().item()), rows

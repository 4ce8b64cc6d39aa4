"""What the scores would have been on other test images of the same kind (Efron 1979)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pipeline.seed import number

RESAMPLES, CELLS = 1000, 1 << 22  # counts held at a time: 32 MiB
METRICS = ("top1", "mean_class_accuracy")


def bootstrap(counts: Tensor, seed: int) -> dict[str, tuple[float, float]] | dict[str, tuple[None, None]]:
    """95 % percentile intervals of top1 and of mean_class_accuracy, from 1,000 resamples of the n test images.

    counts (K, K) as `confusion` gives them. To draw n images again with replacement is to draw how many fall on each
    pair (class, right or wrong), a multinomial: neither time nor memory grows with n. A class that a resample lacks
    is left out of its mean, as it is where the test images lack it. (None, None) for fewer than two images.
    """
    n = int(counts.sum())
    if n < 2:
        return dict.fromkeys(METRICS, (None, None))
    right = counts.diagonal()
    cells = np.concatenate([right.numpy(), (counts.sum(1) - right).numpy()])
    draw, step = np.random.default_rng(number(seed, "bootstrap")), max(1, CELLS // len(cells))
    found: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for start in range(0, RESAMPLES, step):
        hit, miss = np.split(draw.multinomial(n, cells / n, size=min(step, RESAMPLES - start)), 2, axis=1)
        found["top1"].append(hit.sum(1) / n)
        found["mean_class_accuracy"].append((hit / np.maximum(hit + miss, 1)).sum(1) / ((hit + miss) > 0).sum(1))
    ends = {name: np.quantile(np.concatenate(each), [0.025, 0.975]).tolist() for name, each in found.items()}
    return {name: (low, high) for name, (low, high) in ends.items()}

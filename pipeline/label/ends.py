"""Which images to look at: those at the ends of the scale of confidence."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pipeline.label.truth import UNKNOWN

PICTURES = 24  # of each kind


def ends(keys: list[str], confidence: Tensor, guess: Tensor, true: Tensor) -> dict[str, list[dict[str, Any]]]:
    """Their keys, surest or least sure first; `label` is the true class, None where it is not known."""
    sure, guessed, label = confidence.tolist(), guess.tolist(), true.tolist()

    def show(order: Callable[[int], tuple[float, str]], rows: list[int]) -> list[dict[str, Any]]:
        return [
            {
                "key": keys[row],
                "label": None if label[row] == UNKNOWN else label[row],
                "guess": guessed[row],
                "confidence": sure[row],
            }
            for row in heapq.nsmallest(PICTURES, rows, key=order)
        ]

    def surest(row: int) -> tuple[float, str]:
        return -sure[row], keys[row]

    everyone = list(range(len(keys)))
    return {
        "surest_right": show(surest, (guess == true).nonzero().flatten().tolist()),
        "surest_wrong": show(surest, ((guess != true) & (true != UNKNOWN)).nonzero().flatten().tolist()),
        "least_sure": show(lambda row: (sure[row], keys[row]), everyone),
        "surest": show(surest, everyone),
    }

"""How many pseudo-labels a threshold keeps, how many of them are right where that is known, and what has changed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.label.labels import Labels
from pipeline.label.select import EDGES, Selection
from pipeline.score.calibration import gap, nll, reliability

PICTURES = 24  # of each kind
OUT_OF_CLASS, UNKNOWN = -1, -2


def audit(
    labels: Labels,
    shards: ShardSet,
    selection: Selection,
    truth: Mapping[str, int] | None,
    previous: Labels | None,
    classes: list[str],
) -> dict[str, Any]:
    """The page audit.json of one round.

    `truth` maps keys to classes, -1 for an image of none of them, which no guess can get right; images whose key is
    not in it count in nothing that needs the truth. Precision is the share of right guesses among the images counted,
    each once, whatever its weight. nll is over the images of known class. What is not known is None.
    """
    confidence, guess = labels.confidence(), labels.guess()
    true = torch.tensor([(truth or {}).get(key, UNKNOWN) for key in shards.keys], dtype=torch.int64)
    known, right = true != UNKNOWN, guess == true
    bins = reliability(confidence[known], right[known]) if known.any() else []
    kept = [confidence >= torch.tensor(edge) for edge in EDGES]
    return {
        "n": len(labels),
        "teachers": labels.teachers,
        "classes": classes,
        "truth": bool(known.any()),
        "top1": _share(right, known),
        "ece": gap(bins) if bins else None,
        "nll": _nll(labels, true),
        "thresholds": EDGES,
        "coverage": [int(rows.sum()) / len(labels) for rows in kept],
        "precision": [_share(right, rows & known) for rows in kept] if known.any() else None,
        "per_class": _per_class(guess, right, known, selection, classes),
        "reliability": bins,
        "selected": {
            "n": len(selection.rows),
            "weight": int(selection.weights.sum()),
            "precision": _share(right[selection.rows], known[selection.rows]),
            "threshold": selection.floor,
        },
        "changed": None if previous is None else int((guess != previous.guess()).sum()) / len(labels),
        "out_of_class": {
            "n": int((true == OUT_OF_CLASS).sum()),
            "selected": int((true[selection.rows] == OUT_OF_CLASS).sum()),
        }
        if known.any()
        else None,
        "pictures": _pictures(shards.keys, confidence, guess, true),
    }


def coverage_rows(page: dict[str, Any]) -> list[dict[str, Any]]:
    """What coverage.csv holds: a row {threshold, coverage, precision} for each threshold of the audit."""
    precision = page["precision"] or [None] * len(page["thresholds"])
    columns = zip(page["thresholds"], page["coverage"], precision, strict=True)
    return [dict(zip(("threshold", "coverage", "precision"), row, strict=True)) for row in columns]


def write_audit(folder: Path | str, page: dict[str, Any]) -> None:
    """audit.json and coverage.csv, whose cell is empty where nothing was measured."""
    files.write_csv(Path(folder) / "coverage.csv", coverage_rows(page))
    files.write_json(Path(folder) / "audit.json", page)


def _share(right: Tensor, among: Tensor) -> float | None:
    n = int(among.sum())
    return int((right & among).sum()) / n if n else None


def _nll(labels: Labels, true: Tensor) -> float | None:
    total, n = 0.0, int((true >= 0).sum())
    for rows, logits in labels.blocks():
        if (inside := true[rows] >= 0).any():
            total += nll(logits[inside], true[rows][inside]) * int(inside.sum())
    return total / n if n else None


def _per_class(
    guess: Tensor, right: Tensor, known: Tensor, selection: Selection, classes: list[str]
) -> list[dict[str, Any]]:
    """`precision` is that of the selected images of the class."""
    rows, table = selection.rows, []
    for number, name in enumerate(classes):
        mine = guess[rows] == number
        counts = {"guessed": int((guess == number).sum()), "selected": int(mine.sum())}
        counts["weight"] = int(selection.weights[mine].sum())
        table.append({"class": name, **counts, "precision": _share(right[rows], known[rows] & mine)})
    return table


def _pictures(keys: list[str], confidence: Tensor, guess: Tensor, true: Tensor) -> dict[str, list[dict[str, Any]]]:
    """The keys at the ends of the scale of confidence; `label` is the true class, None where it is not known."""
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

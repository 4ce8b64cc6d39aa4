"""How many pseudo-labels a threshold keeps, how many of them are right where that is known, and what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import files
from pipeline.label.churn import churn
from pipeline.label.ends import ends
from pipeline.label.labels import Labels
from pipeline.label.rejection import rejection
from pipeline.label.select import EDGES, Selection
from pipeline.label.tempered import calibration
from pipeline.label.truth import UNKNOWN, share, true_classes

LEVELS = [*(i / 10 for i in range(10)), 0.95, 0.99]  # thresholds of single classes, of which there may be thousands


def audit(
    labels: Labels,
    selection: Selection,
    truth: Mapping[str, int] | None,
    previous: tuple[Labels, Selection] | None,
    seed: int,
) -> dict[str, Any]:
    """The page audit.json of one round; `previous` is the round before it.

    `truth` maps keys to classes, -1 for an image of none of them, which no guess can get right; images whose key is
    not in it count in nothing that needs the truth. Precision is the share of right guesses among the images counted,
    each once, whatever its weight. What is not known is None.
    """
    keys, classes = labels.shards.keys, labels.shards.manifest.classes
    confidence, guess = labels.confidence(), labels.guess()
    true = true_classes(keys, truth or {})
    known, right = true != UNKNOWN, guess == true
    kept = [confidence >= torch.tensor(edge) for edge in EDGES]
    return {
        "n": len(labels),
        "teachers": labels.teachers,
        "classes": classes,
        "truth": bool(known.any()),
        "top1": share(right, known),
        **calibration(labels, keys, true, seed),
        "thresholds": EDGES,
        "coverage": [int(rows.sum()) / len(labels) for rows in kept],
        "precision": [share(right, rows & known) for rows in kept] if known.any() else None,
        "class_curves": _class_curves(confidence, guess, right, known, len(classes)),
        "per_class": _per_class(guess, true, selection, classes),
        "selected": {
            "n": len(selection.rows),
            "weight": int(selection.weights.sum()),
            "precision": share(right[selection.rows], known[selection.rows]),
            "threshold": selection.floor,
        },
        "churn": churn(guess, selection, (previous[0].guess(), previous[1]), true, classes) if previous else None,
        "out_of_class": rejection(confidence, selection, true) if known.any() else None,
        "pictures": ends(keys, confidence, guess, true),
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


def _class_curves(confidence: Tensor, guess: Tensor, right: Tensor, known: Tensor, classes: int) -> dict[str, Any]:
    """Coverage of the images guessed to be of each class, and precision of those kept: a list for each class."""
    kept = [confidence >= torch.tensor(level) for level in LEVELS]

    def counts(rows: Tensor) -> list[list[int]]:
        return torch.stack([torch.bincount(guess[rows & mask], minlength=classes) for mask in kept], 1).tolist()

    def shares(of: list[list[int]], among: list[list[int]]) -> list[list[float | None]]:
        pairs = [zip(a, b, strict=True) for a, b in zip(of, among, strict=True)]
        return [[m / n if n else None for m, n in pair] for pair in pairs]

    reaching = counts(torch.ones_like(known))
    return {
        "thresholds": LEVELS,
        "coverage": shares(reaching, [[row[0]] * len(LEVELS) for row in reaching]),
        "precision": shares(counts(right), counts(known)) if known.any() else None,
    }


def _per_class(guess: Tensor, true: Tensor, selection: Selection, classes: list[str]) -> list[dict[str, Any]]:
    """`true`: the images that are of the class. `precision` is that of the selected ones guessed to be."""

    def counts(of: Tensor, weights: Tensor | None = None) -> list[int]:
        return torch.bincount(of, weights, minlength=len(classes)).long().tolist()

    chosen, hidden = guess[selection.rows], true[selection.rows]
    known, right = counts(chosen[hidden != UNKNOWN]), counts(chosen[hidden == chosen])
    columns = {
        "class": classes,
        "true": counts(true[true >= 0]) if (true != UNKNOWN).any() else [None] * len(classes),
        "guessed": counts(guess),
        "selected": counts(chosen),
        "weight": counts(chosen, selection.weights),
        "precision": [r / n if n else None for r, n in zip(right, known, strict=True)],
        "threshold": selection.thresholds,
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

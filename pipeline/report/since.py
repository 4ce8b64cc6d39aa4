"""What has changed since an earlier run, of which no more is known than its scores."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from pipeline.report.run import Pairs, Run, uncertainty


@dataclass(frozen=True)
class Past:
    """`files`: model -> name -> text of its metrics.json and confusion.csv; a file that could not be had is left out.

    `commit` is a short hash, `date` its day.
    """

    commit: str
    date: str
    files: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Score:
    """Top-1 of a classifier, with the (actual, predicted) classes of its test images, or kNN of an encoder."""

    kind: str
    share: float
    pairs: Pairs


def changes(run: Run, past: Past | None) -> dict[str, Any] | None:
    """Rows of the scores that moved and of the models that are new or gone; None where there are none, or no past.

    `change` of a row is (difference, half of its paired 95 % interval, or None where the test images are others or the
    score is not a classifier's). Of a model whose old scores cannot be read nothing is said.
    """
    if past is None or not past.files:
        return None
    now = {name: Score("top1", model.metrics["top1"], model.pairs) for name, model in run.models.items()}
    now |= {name: Score("knn", metrics["knn"], []) for name, metrics in run.probes.items()}
    before = {name: _parsed(files) for name, files in past.files.items()}
    rows, same = [], 0
    for name in dict.fromkeys((*now, *before)):
        mine, theirs = now.get(name), before.get(name)
        if mine and theirs and mine.share == theirs.share and (mine.pairs == theirs.pairs or not theirs.pairs):
            same += 1
        elif theirs or name not in before:
            rows.append(_row(run, name, mine, theirs))
    return {"past": past, "rows": rows, "same": same} if rows else None


def _row(run: Run, name: str, mine: Score | None, theirs: Score | None) -> dict[str, Any]:
    both = (mine.share - theirs.share, uncertainty(mine.pairs, theirs.pairs)) if mine and theirs else None
    return {
        "name": name,
        "title": run.models[name].title if name in run.models else name,
        "before": theirs and theirs.share,
        "now": mine and mine.share,
        "change": both,
        "encoder": "knn" in {score.kind for score in (mine, theirs) if score},
    }


def _parsed(files: dict[str, str]) -> Score | None:
    try:
        metrics = json.loads(files["metrics.json"])
        kind = "top1" if "top1" in metrics else "knn"
        rows = csv.DictReader(io.StringIO(files.get("confusion.csv", "")), strict=True)
        return Score(kind, float(metrics[kind]), [(row["actual"], row["predicted"]) for row in rows])
    except (KeyError, TypeError, ValueError, csv.Error):
        return None

"""Models beside one another, each against the first, on the same test images."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import BadData
from pipeline.report.numbers import MISSING, percent, points
from pipeline.report.table import aligned
from pipeline.score.accuracy import wilson
from pipeline.score.paired import discordant, half, mcnemar

HEAD = ("model", "top-1, %", "95 % interval", "difference", "95 % interval", "p", "images")


@dataclass(frozen=True)
class Scored:
    """The class of each test image, in the order of the test shards, and whether the model saw it."""

    name: str
    actual: list[str]
    right: list[bool]

    @classmethod
    def parse(cls, name: str, text: str) -> Scored:
        """From the text of scores/<name>/confusion.csv. Raises BadData where it is none, or has no row."""
        try:
            pairs = [(row["actual"], row["predicted"]) for row in csv.DictReader(io.StringIO(text), strict=True)]
        except (KeyError, csv.Error) as error:
            raise BadData(f"{name}: its confusion.csv is none of `evaluate` ({error}); evaluate it again") from None
        if not pairs:
            raise BadData(f"{name}: its confusion.csv has no row; evaluate it again")
        return cls(name, [actual for actual, _ in pairs], [actual == predicted for actual, predicted in pairs])


def compare(models: Sequence[Scored]) -> list[dict[str, Any]]:
    """A row for each: model, n, top1 with Wilson's 95 % interval, and from the second on what sets it off the first.

    That is the difference of top1 and, where both were scored on the same test images in the same order, its paired
    95 % interval, how many images it alone or the first alone has right, and the exact p of McNemar's test. Each p is
    of one comparison: with many models some are small by chance. What does not apply is None.
    """
    first, rows = models[0], []
    for place, model in enumerate(models):
        n, top1 = len(model.right), sum(model.right) / len(model.right)
        low, high = wilson(top1, n)
        row: dict[str, Any] = {"model": model.name, "n": n, "top1": top1, "low": low, "high": high}
        row |= dict.fromkeys(("difference", "difference_low", "difference_high", "only_this", "only_first", "p"))
        if place:
            row["difference"] = top1 - sum(first.right) / len(first.right)
        if place and model.actual == first.actual:
            mine, theirs = discordant(model.right, first.right)
            wide = half(mine, theirs, n)
            row |= {"difference_low": row["difference"] - wide, "difference_high": row["difference"] + wide}
            row |= {"only_this": mine, "only_first": theirs, "p": mcnemar(mine, theirs)}
        rows.append(row)
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text, under HEAD."""
    paired = row["p"] is not None
    return [
        row["model"],
        percent(row["top1"]),
        f"{percent(row['low'])} to {percent(row['high'])}",
        points(row["difference"]),
        f"{points(row['difference_low'])} to {points(row['difference_high'])}" if paired else MISSING,
        f"{row['p']:.2g}" if paired else MISSING,
        f"{row['n']:,}",
    ]


def notes(rows: Sequence[dict[str, Any]]) -> str:
    """What the numbers are, and which models cannot be paired with the first."""
    said = f"Differences from {rows[0]['model']} in percentage points, paired; p: McNemar's exact test."
    apart = [row["model"] for row in rows[1:] if row["p"] is None]
    return said + (f" Scored on other test images, so not paired: {', '.join(apart)}." if apart else "")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    return f"{aligned(HEAD, [cells(row) for row in rows], 1)}\n\n{notes(rows)}"

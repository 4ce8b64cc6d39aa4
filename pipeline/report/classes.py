"""Which classes are told apart: the confusion matrix and the accuracy of each class."""

from __future__ import annotations

from collections import Counter
from typing import Any

from markupsafe import Markup

from pipeline.report.numbers import clip, percent
from pipeline.report.run import Model
from pipeline.report.svg import drawing, tag, text, ticks

NUMBERED, DRAWN, LISTED = 20, 100, 40  # classes up to which cells hold numbers, a matrix is drawn, rows are drawn
MISTAKES = 2000  # pairs of classes: a matrix of 100 classes may hold 9,900


def matrix(model: Model, classes: list[str]) -> Markup | None:
    """Share of each actual class (row) that was called each class (column); None above 100 classes.

    Of more than 2,000 kinds of mistakes the most frequent.
    """
    if len(classes) > DRAWN:
        return None
    totals = Counter(actual for actual, _ in model.pairs)
    counts = Counter(dict(mistakes(model)[:MISTAKES])) + Counter(pair for pair in model.pairs if pair[0] == pair[1])
    cell = max(5, min(40, 440 // len(classes)))
    named = cell >= 11
    left = (14 + min(12, max(map(len, classes))) * 7 + 20) if named else 24
    top, side = (left - 14 if max(map(len, classes)) > 3 else 40) if named else 24, cell * len(classes)
    turned = named and max(map(len, classes)) > 3
    parts = [tag("rect", x=left, y=top, width=side, height=side, class_="field")]
    for r, actual in enumerate(classes):
        y = top + r * cell
        if named:
            parts.append(text(left - 6, y + cell / 2 + 4, clip(actual, 12), "tick", "end"))
            x = left + r * cell + cell / 2
            turn = {"transform": f"rotate(-60 {x + 3:.0f} {top - 6})"} if turned else {}
            parts.append(text(x, top - 6, clip(actual, 12), "tick", "start" if turned else "middle", **turn))
        for c, predicted in enumerate(classes):
            n = counts[actual, predicted]
            if not n:
                continue
            share = n / totals[actual]
            kind = "right" if r == c else "wrong"
            about = f"{clip(actual, 40)} called {clip(predicted, 40)}: {n} of {totals[actual]} ({percent(share)} %)"
            depth = f"{0.14 + 0.86 * (share if r == c else min(1, 3 * share)):.2f}"
            x = left + c * cell
            box = {"x": x + 0.5, "y": y + 0.5, "width": cell - 1, "height": cell - 1}
            parts.append(tag("rect", tag("title", about), class_=f"cell {kind}", fill_opacity=depth, **box))
            if len(classes) <= NUMBERED:
                strong = "cell-text strong" if float(depth) > 0.55 else "cell-text"
                parts.append(text(x + cell / 2, y + cell / 2 + 4, str(n), strong, "middle"))
    parts.append(text(left + side / 2, top + side + 20, "Predicted class", "axis", "middle"))
    middle = top + side / 2
    parts.append(text(12, middle, "Actual class", "axis", "middle", transform=f"rotate(-90 12 {middle:.0f})"))
    wrong = sum(actual != predicted for actual, predicted in model.pairs)
    label = f"Confusion matrix of {model.title}: {wrong} of {len(model.pairs)} test images are called another class"
    return drawing(left + side + 8, top + side + 28, label, parts)


def mistakes(model: Model) -> list[tuple[tuple[str, str], int]]:
    """((actual, predicted class), images), the most frequent first."""
    wrong = Counter(pair for pair in model.pairs if pair[0] != pair[1])
    return sorted(wrong.items(), key=lambda item: (-item[1], item[0]))


def left_out(model: Model) -> int:
    """How many kinds of mistakes a matrix has no cell for."""
    return max(0, len(mistakes(model)) - MISTAKES)


def confusions(model: Model, most: int = 8) -> list[dict[str, Any]]:
    """The pairs that are mistaken most often."""
    totals = Counter(actual for actual, _ in model.pairs)
    return [{"actual": a, "predicted": p, "n": n, "share": n / totals[a]} for (a, p), n in mistakes(model)[:most]]


def dumbbells(before: Model, after: Model) -> tuple[Markup, int, int]:
    """Accuracy of each class, from one model to another, and how many of how many are drawn: of over 40 the weakest."""
    old = {row["class"]: row["accuracy"] for row in before.per_class}
    rows = [row for row in after.per_class if row["accuracy"] is not None and old.get(row["class"]) is not None]
    tested = len(rows)
    if len(rows) > LISTED:
        rows = sorted(rows, key=lambda row: row["accuracy"])[:LISTED]
    left, width, step = 24 + 7 * min(16, max((len(r["class"]) for r in rows), default=1)), 440, 24
    height = len(rows) * step + 46
    lowest = min([r["accuracy"] for r in rows] + [old[r["class"]] for r in rows], default=0)
    lo = min(0.9, int(lowest * 10) / 10)

    def at(share: float) -> float:
        return left + (share - lo) / (1 - lo) * (width - left - 52)

    bottom, parts = len(rows) * step + 8, []
    for value in ticks(lo, 1, 4):
        parts.append(tag("line", x1=at(value), x2=at(value), y1=4, y2=bottom, class_="grid"))
        parts.append(text(at(value), bottom + 14, f"{100 * value:g}", "tick", "middle"))
    parts.append(
        text((left + width - 52) / 2, bottom + 32, "Accuracy of the class on the test images, %", "axis", "middle")
    )
    for i, row in enumerate(rows):
        y, a, b = 16 + i * step, old[row["class"]], row["accuracy"]
        about = f"{row['class']}: {before.title} {percent(a)} %, {after.title} {percent(b)} %, {row['n']:.0f} images"
        parts += [
            text(left - 10, y + 4, clip(row["class"], 16), "tick name", "end"),
            tag("line", x1=at(a), x2=at(b), y1=y, y2=y, class_="gain" if b >= a else "loss"),
            tag("circle", tag("title", about), cx=at(a), cy=y, r=4.5, style="fill:var(--baseline)"),
            tag("circle", tag("title", about), cx=at(b), cy=y, r=5.5, style="fill:var(--accent)"),
            text(width - 40, y + 4, percent(b), "tick name", "start"),
        ]
    label = f"Accuracy per class, {before.title} to {after.title}: " + ", ".join(
        f"{r['class']} {percent(old[r['class']], 0)} to {percent(r['accuracy'], 0)} %" for r in rows
    )
    return drawing(width, height, label, parts), len(rows), tested

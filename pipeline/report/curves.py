"""Training curves: all classifiers on one validation chart, and what each stage noted on small charts of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from pipeline.report.numbers import decimal, percent
from pipeline.report.run import Run
from pipeline.report.svg import Plot, ticks

Points = list[tuple[float, float]]
WORDS = {
    "loss": "Loss",
    "val_top1": "Validation top-1, %",
    "val_knn": "Validation kNN, %",
    "feature_std": "Feature std",
    "effective_rank": "Effective rank",
}
MOST = 240  # points of a drawn line; more cannot be told apart


def thin(points: Points, most: int = MOST) -> Points:
    """Means of equal runs of points, so that a long curve keeps its shape and a page its size."""
    step = -(-len(points) // most)
    groups = [points[i : i + step] for i in range(0, len(points), step)] if step > 1 else [[p] for p in points]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def colour(run: Run, name: str) -> str:
    """The variable of the style sheet that one model keeps in every figure."""
    if name not in run.models:
        return f"pretrain-{list(run.params.pretrain).index(name) % 4 + 1}"
    role = run.models[name].role
    students = [m.name for m in run.models.values() if m.role == "student"]
    return role if role != "student" else f"student-{students.index(name) % 4 + 1}"


def together(run: Run, column: str, names: Iterable[str], title: str) -> dict[str, Any] | None:
    """One monitor of several stages against the share of their training, with a legend; None where it is nowhere."""
    lines = {name: run.curves[name].get(column, []) for name in names}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    lowest = min(y for points in lines.values() for _, y in points)
    plot = Plot(440, 230, (0, 1), (max(0.0, lowest - 0.03), 1.0))
    plot.axes("Share of the stage's steps, %", WORDS[column], ticks(0, 1, 5), ticks(*plot.y), share="xy")
    for name, points in lines.items():
        last = max(x for points in run.curves[name].values() for x, _ in points) or 1
        plot.line([(x / last, y) for x, y in thin(points)], colour(run, name), dots=len(points) < 25)
    named = {name: run.models[name].title if name in run.models else name for name in lines}
    ends = ", ".join(f"{named[name]} {percent(points[-1][1])} %" for name, points in lines.items())
    legend = [{"title": named[name], "colour": colour(run, name)} for name in lines]
    return {"figure": plot.draw(f"{title} during training; at the end {ends}"), "title": title, "legend": legend}


def small(name: str, points: Points, shade: str) -> Markup:
    """One column of one stage."""
    values = [y for _, y in points]
    lo, hi = min(values), max(values)
    if lo >= 0 and (lo < 0.4 * hi or hi == 0):
        lo, hi = 0.0, hi or 1.0
    elif lo == hi:
        lo, hi = lo - 0.5, hi + 0.5
    word = WORDS.get(name, name.replace("_", " "))
    plot = Plot(260, 170, (0, points[-1][0] or 1), (lo, hi), left=52)
    plot.axes("Step", word, ticks(*plot.x, 4), ticks(lo, hi, 4))
    plot.line(thin(points), shade, dots=len(points) < 25)
    return plot.draw(f"{word} against step: from {decimal(values[0])} to {decimal(values[-1])}")


def panels(run: Run, names: Iterable[str]) -> list[dict[str, Any]]:
    """What each stage noted, the loss first, but for the learning rate and what is drawn elsewhere."""
    found = []
    for name in names:
        noted = {c: points for c, points in run.curves[name].items() if points}
        columns = {c: points for c, points in noted.items() if c != "lr" and not c.startswith("val_")}
        title = run.models[name].title if name in run.models else name
        for column in sorted(columns, key=lambda c: c != "loss"):
            found.append({"title": title, "figure": small(column, columns[column], colour(run, name))})
    return found

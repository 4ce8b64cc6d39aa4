"""How each class converges: its accuracy on the validation images, a small panel a class, a line a classifier."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report.curves import Points, colour, thin
from pipeline.report.numbers import percent
from pipeline.report.run import Run
from pipeline.report.scores import spoken
from pipeline.report.svg import Plot, ticks

COLUMN = "val_class_"
DRAWN, POINTS = 20, 60  # panels of a page; points of a line that is as short as these


def by_class(run: Run) -> dict[str, Any] | None:
    """The panels and the legend; None where no classifier has such curves, as of more than 100 classes.

    Of more than 20 classes, the weakest at the end of `judge`: the final model, or the last one with such curves.
    """
    found = {name: lines(run.curves[name], len(run.classes)) for name in run.models}
    found = {name: own for name, own in found.items() if own}
    if not found:
        return None
    judge = run.final.name if run.final.name in found else list(found)[-1]
    ends = {place: points[-1][1] for place, points in found[judge].items()}
    drawn = sorted(ends, key=lambda place: ends[place])[:DRAWN] if len(ends) > DRAWN else list(ends)
    last = max(points[-1][0] for own in found.values() for points in own.values()) or 1
    return {
        "judge": spoken(run, judge),
        "legend": [{"title": run.models[name].title, "colour": colour(run, name)} for name in found],
        "panels": [
            {
                "class": run.classes[place],
                "end": ends[place],
                "figure": _panel(run, place, {name: own[place] for name, own in found.items() if place in own}, last),
            }
            for place in drawn
        ],
        "of": len(ends),
        "unseen": len(run.classes) - len(ends),
    }


def lines(curve: dict[str, Points], classes: int) -> dict[int, Points]:
    """By the place of the class; a class without a validation image has none."""
    found = {place: curve.get(f"{COLUMN}{place:02d}") for place in range(classes)}
    return {place: points for place, points in found.items() if points}


def _panel(run: Run, place: int, lines: dict[str, Points], last: float) -> Markup:
    plot = Plot(160, 110, (0, last), (0, 1), left=28, right=12)
    plot.bottom = 90
    plot.axes("", "", ticks(0, last, 2), ticks(0, 1, 2), share="y")
    for name, points in lines.items():
        plot.line(thin(points, POINTS), colour(run, name))
    told = ", ".join(f"{run.models[name].title} {percent(points[-1][1])} %" for name, points in lines.items())
    return plot.draw(f"Accuracy on {run.classes[place]} against step; at the end {told}")

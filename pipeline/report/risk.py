"""What is left of the errors where a classifier answers only the images that it is surest of."""

from __future__ import annotations

from typing import Any

from pipeline.report.curves import colour
from pipeline.report.numbers import percent
from pipeline.report.run import Run
from pipeline.report.svg import Plot, ticks


def curves(run: Run) -> dict[str, Any] | None:
    """The figure, a line a classifier, and its legend; None where no curve has a point, as of one test image."""
    lines = {name: [(row["coverage"], row["risk"]) for row in model.risk] for name, model in run.models.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    most = max(risk for points in lines.values() for _, risk in points) or 0.01
    plot = Plot(440, 230, (0, 1), (0, 1.05 * most))
    plot.axes(
        "Coverage: images that are answered, %", "Errors among them, %", ticks(0, 1, 5), ticks(0, most), share="xy"
    )
    for name, points in lines.items():
        plot.line(points, colour(run, name))
    told = "; ".join(
        f"{run.models[name].title} {percent(points[len(points) // 2 - 1][1])} % of the surest half wrong, "
        f"{percent(points[-1][1])} % of all"
        for name, points in lines.items()
    )
    legend = [{"title": run.models[name].title, "colour": colour(run, name)} for name in lines]
    return {"figure": plot.draw(f"Errors against coverage: {told}"), "legend": legend}

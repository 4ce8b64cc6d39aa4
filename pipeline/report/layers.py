"""Where along an encoder the classes can be read: linear accuracy by depth, of every run and of random weights."""

from __future__ import annotations

from typing import Any

from pipeline.report.curves import colour
from pipeline.report.numbers import percent
from pipeline.report.run import Run
from pipeline.report.scores import about
from pipeline.report.svg import Plot, ticks


def by_depth(run: Run) -> dict[str, Any] | None:
    """Depths, a line of cells for each encoder (None where it has no such depth), and the figure; None without any."""
    depths = sorted({row["depth"] for rows in run.layers.values() for row in rows})
    if not depths:
        return None
    shares = [row["linear"] for rows in run.layers.values() for row in rows]
    plot = Plot(440, 230, (depths[0], depths[-1]), (max(0.0, min(shares) - 0.03), min(1.0, max(shares) + 0.03)))
    plot.axes("Depth, from the image up", "Linear accuracy, %", depths[:13], ticks(*plot.y), share="y")
    lines, told = [], []
    for name, rows in run.layers.items():
        shade, best = ("baseline" if name == "scratch" else colour(run, name)), max(rows, key=lambda r: r["linear"])
        plot.line([(r["depth"], r["linear"]) for r in rows], shade, "4 4" if name == "scratch" else "", dots=True)
        cells = {row["depth"]: row for row in rows}
        title = about(run, name) if name == "scratch" else name
        line = {"name": name, "title": title, "colour": shade, "best": best["depth"]}
        lines.append(line | {"cells": [cells.get(depth) for depth in depths]})
        told.append(f"{title} {percent(best['linear'])} % at depth {best['depth']:.0f}")
    figure = plot.draw(f"Linear accuracy by depth; the best of each: {', '.join(told)}")
    labels = max(row["labels"] for rows in run.layers.values() for row in rows)
    return {"depths": depths, "labels": labels, "lines": lines, "figure": figure}

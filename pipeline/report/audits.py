"""What an audit says of thresholds: how many pseudo-labels each keeps, how right they are, and what it rejects."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report.numbers import percent
from pipeline.report.svg import Plot, tag, text, ticks

DRAWN, TOGETHER, FEWEST = 20, 60, 4  # panels of classes: of a round, of all rounds, and of a round even so


def coverage(audit: dict[str, Any]) -> Markup:
    """Share of the images that is kept, and share of the kept that is right, against the threshold."""
    plot, chosen = _against_threshold(audit, note=224), audit["selected"]["threshold"]
    _line(plot, audit["thresholds"], audit["coverage"], "accent")
    told = f"at {percent(chosen, 0)} % confidence {percent(_near(audit, audit['coverage']))} % of the images are kept"
    if audit["precision"]:
        _line(plot, audit["thresholds"], audit["precision"], "teacher")
        told += f" and {percent(_near(audit, audit['precision']))} % of those are right"
    return plot.draw(f"Coverage and precision against threshold: {told}")


def rejection(audit: dict[str, Any]) -> Markup | None:
    """Of the images of no class the share below the threshold, and their share of all below; None without any."""
    out = audit["out_of_class"]
    if not out or not out["n"]:
        return None
    plot, rejected = _against_threshold(audit, note=22), out["by_threshold"]
    _line(plot, audit["thresholds"], rejected["recall"], "accent")
    _line(plot, audit["thresholds"], rejected["precision"], "teacher")
    chosen, below = audit["selected"]["threshold"], _near(audit, rejected["recall"])
    told = f"{percent(below)} % of them are below {percent(chosen, 0)} % confidence"
    return plot.draw(f"Rejecting images of no class against threshold: {told}")


def classes(audit: dict[str, Any], rounds: int) -> list[dict[str, Any]]:
    """A small panel for each class, the same two lines of the images guessed to be of it.

    Of many classes those with the lowest precision of what was selected, or the smallest share that was selected where
    no truth is known. Of several `rounds` each draws fewer, so that the page keeps its size.
    """
    curves, rows = audit["class_curves"], audit["per_class"]
    ends: dict[int, float | None] = {
        place: row["precision"] if audit["truth"] else row["selected"] / row["guessed"]
        for place, row in enumerate(rows)
        if row["guessed"]
    }
    most = max(FEWEST, min(DRAWN, TOGETHER // rounds))
    if len(ends) > most:
        ends = dict(sorted(ends.items(), key=lambda end: 2.0 if end[1] is None else end[1])[:most])
    return [
        {"class": rows[place]["class"], "end": end, "figure": _panel(rows[place], curves, place)}
        for place, end in ends.items()
    ]


def _panel(row: dict[str, Any], curves: dict[str, Any], place: int) -> Markup:
    plot = Plot(160, 110, (0, 1), (0, 1), left=28, right=12)
    plot.bottom = 90
    plot.axes("", "", ticks(0, 1, 2), ticks(0, 1, 2), share="xy")
    x = plot.at_x(row["threshold"])
    plot.parts.append(tag("line", x1=x, x2=x, y1=plot.top, y2=plot.bottom, class_="chosen"))
    _line(plot, curves["thresholds"], curves["coverage"][place], "accent")
    told = (
        f"{row['selected']:.0f} of {row['guessed']:.0f} guesses selected, from {percent(row['threshold'], 0)} % upwards"
    )
    if curves["precision"]:
        _line(plot, curves["thresholds"], curves["precision"][place], "teacher")
        told += f", {percent(row['precision'])} % right"
    return plot.draw(f"{row['class']} against threshold: {told}")


def _against_threshold(audit: dict[str, Any], note: float) -> Plot:
    """The axes, and what the student used as a dotted line; `note` is the height of its words, clear of the lines."""
    thresholds, chosen = audit["thresholds"], audit["selected"]["threshold"]
    plot = Plot(345, 270, (thresholds[0], thresholds[-1]), (0, 1))
    plot.axes("Least confidence of the teacher, %", "Share, %", ticks(*plot.x, 5), ticks(0, 1, 5), share="xy")
    if plot.x[0] <= chosen <= plot.x[1]:
        x, late = plot.at_x(chosen), chosen > sum(plot.x) / 2
        side, place = ("end", x - 6) if late else ("start", x + 6)
        plot.parts += [
            tag("line", x1=x, x2=x, y1=plot.top, y2=plot.bottom, class_="chosen"),
            text(place, note, f"used: {percent(chosen, 0)} %", "note", side),
        ]
    return plot


def _line(plot: Plot, x: list[float], y: list[float | None], colour: str) -> None:
    """Where there is something to be a share of."""
    plot.line([(a, b) for a, b in zip(x, y, strict=True) if b is not None], colour)


def _near(audit: dict[str, Any], column: list[float | None]) -> float | None:
    thresholds, chosen = audit["thresholds"], audit["selected"]["threshold"]
    return column[min(range(len(thresholds)), key=lambda i: abs(thresholds[i] - chosen))]

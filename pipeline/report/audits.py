"""What the audit of a round's pseudo-labels shows: how many at which threshold, how right, of which classes."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report.numbers import clip, percent
from pipeline.report.svg import Plot, drawing, tag, text, ticks

LISTED = 40


def coverage(audit: dict[str, Any]) -> Markup:
    """Share of the images that is kept, and share of the kept that is right, against the threshold."""
    thresholds = audit["thresholds"]
    plot = Plot(345, 270, (thresholds[0], thresholds[-1]), (0, 1))
    plot.axes("Least confidence of the teacher, %", "Share, %", ticks(*plot.x, 5), ticks(0, 1, 5), share="xy")
    chosen = audit["selected"]["threshold"]
    if plot.x[0] <= chosen <= plot.x[1]:
        x = plot.at_x(chosen)
        late = chosen > sum(plot.x) / 2
        plot.parts += [
            tag("line", x1=x, x2=x, y1=plot.top, y2=plot.bottom, class_="chosen"),
            text(
                x + (-6 if late else 6),
                plot.bottom - 8,
                f"used: {percent(chosen, 0)} %",
                "note",
                "end" if late else "start",
            ),
        ]
    plot.line(list(zip(thresholds, audit["coverage"], strict=True)), "accent")
    told = f"at {percent(chosen, 0)} % confidence {percent(_near(audit, 'coverage', chosen))} % of the images are kept"
    if audit["precision"]:
        plot.line([(x, y) for x, y in zip(thresholds, audit["precision"], strict=True) if y is not None], "teacher")
        told += f" and {percent(_near(audit, 'precision', chosen))} % of those are right"
    return plot.draw(f"Coverage and precision against threshold: {told}")


def _near(audit: dict[str, Any], column: str, threshold: float) -> float | None:
    place = min(range(len(audit["thresholds"])), key=lambda i: abs(audit["thresholds"][i] - threshold))
    return audit[column][place]


def balance(audit: dict[str, Any]) -> tuple[Markup, int]:
    """Each class's share among all guesses and by weight among the selected ones; how many classes are drawn."""
    rows = audit["per_class"]
    guessed, weight = sum(r["guessed"] for r in rows) or 1, sum(r["weight"] for r in rows) or 1
    pairs = [(r, r["guessed"] / guessed, r["weight"] / weight) for r in rows]
    if len(pairs) > LISTED:
        pairs = sorted(pairs, key=lambda p: -abs(p[2] - p[1]))[:LISTED]
    uniform, step, width = 1 / len(rows), 26, 345
    left = 24 + 7 * min(16, max((len(r["class"]) for r, _, _ in pairs), default=1))
    right = width - (64 if audit["truth"] else 12)
    most = max([uniform] + [max(a, b) for _, a, b in pairs])
    marks = ticks(0, most, 4)
    bottom = 22 + len(pairs) * step

    def at(share: float) -> float:
        return left + share / most * (right - left)

    parts = [
        mark
        for value in marks
        for mark in (
            tag("line", x1=at(value), x2=at(value), y1=18, y2=bottom, class_="grid"),
            text(at(value), bottom + 14, f"{100 * value:g}", "tick", "middle"),
        )
    ]
    for i, (row, a, b) in enumerate(pairs):
        y = 22 + i * step
        about = f"{row['class']}: {row['guessed']:.0f} guessed ({percent(a)} %), {row['selected']:.0f} selected"
        about += f" with weight {row['weight']:.0f} ({percent(b)} %)"
        parts += [
            text(left - 10, y + 14, clip(row["class"], 16), "tick name", "end"),
            tag("rect", tag("title", about), x=left, y=y + 2, width=max(1.0, at(a) - left), height=7, class_="before"),
            tag("rect", tag("title", about), x=left, y=y + 11, width=max(1.0, at(b) - left), height=7, class_="after"),
        ]
        if audit["truth"]:
            parts.append(text(width - 4, y + 14, percent(row["precision"]), "tick name", "end"))
    parts += [
        tag("line", x1=at(uniform), x2=at(uniform), y1=18, y2=bottom, class_="chosen"),
        text((left + right) / 2, bottom + 32, "Share of the pseudo-labels, %", "axis", "middle"),
    ]
    if audit["truth"]:
        parts.append(text(width - 4, 12, "right, %", "tick", "end"))
    label = "Class balance before and after selection: " + ", ".join(
        f"{r['class']} {percent(a)} to {percent(b)} %" for r, a, b in pairs
    )
    return drawing(width, bottom + 40, label, parts), len(pairs)

"""The balance of the classes before and after selection, beside that of the truth where it is known."""

from __future__ import annotations

from typing import Any

from pipeline.report.numbers import clip, percent
from pipeline.report.svg import drawing, tag, text, ticks

LISTED = 40
COLOURS = {
    "before": "color-mix(in srgb, var(--baseline) 60%, transparent)",
    "between": "color-mix(in srgb, var(--accent) 40%, transparent)",
    "after": "var(--accent)",
}


def balance(audit: dict[str, Any]) -> dict[str, Any]:
    """{figure, legend, shown}: each class's share of the guesses, of the selected and of their weight; a stroke, its
    share of the truth. The weight is left out where it is 1. Of more than 40 classes those that selection changed most.
    """
    rows = audit["per_class"]
    bars = {"before": ("guessed", "All guesses"), "after": ("selected", "Selected")}
    if any(row["weight"] != row["selected"] for row in rows):
        bars = {"before": bars["before"], "between": bars["after"], "after": ("weight", "Selected, by weight")}
    shares = {kind: _shares(rows, column) for kind, (column, _) in bars.items()}
    true = _shares(rows, "true") if audit["truth"] else []
    places = list(range(len(rows)))
    if len(rows) > LISTED:
        places = sorted(places, key=lambda i: -abs(shares["after"][i] - shares["before"][i]))[:LISTED]
    uniform, width, thick = 1 / len(rows), 345, 7
    step = thick * len(bars) + 2 * len(bars) + 8
    left = 24 + 7 * min(16, max((len(rows[i]["class"]) for i in places), default=1))
    right = width - (64 if audit["truth"] else 12)
    most = max(uniform, *(each[i] for each in (*shares.values(), true) if each for i in places))
    bottom = 22 + len(places) * step

    def at(share: float) -> float:
        return left + share / most * (right - left)

    parts = [
        mark
        for value in ticks(0, most, 4)
        for mark in (
            tag("line", x1=at(value), x2=at(value), y1=18, y2=bottom, class_="grid"),
            text(at(value), bottom + 14, f"{100 * value:g}", "tick", "middle"),
        )
    ]
    for line, i in enumerate(places):
        row, y = rows[i], 22 + line * step
        about = f"{row['class']}: {row['guessed']:.0f} guessed ({percent(shares['before'][i])} %), "
        about += f"{row['selected']:.0f} selected with weight {row['weight']:.0f} ({percent(shares['after'][i])} %)"
        about += f", {row['true']:.0f} true ({percent(true[i])} %)" if true else ""
        middle = y + step / 2 + 1
        drawn = [
            tag("rect", x=left, y=y + 2 + k * (thick + 2), width=max(1.0, at(own[i]) - left), height=thick, class_=kind)
            for k, (kind, own) in enumerate(shares.items())
        ]
        parts += [
            text(left - 10, middle, clip(row["class"], 16), "tick name", "end"),
            tag("g", tag("title", about), *drawn),
        ]
        if true:
            parts += [
                tag("line", x1=at(true[i]), x2=at(true[i]), y1=y, y2=y + step - 6, class_="true"),
                text(width - 4, middle, percent(row["precision"]), "tick name", "end"),
            ]
    parts += [
        tag("line", x1=at(uniform), x2=at(uniform), y1=18, y2=bottom, class_="chosen"),
        text((left + right) / 2, bottom + 32, "Share of the pseudo-labels, %", "axis", "middle"),
    ]
    if audit["truth"]:
        parts.append(text(width - 4, 12, "right, %", "tick", "end"))
    label = "Class balance before and after selection: " + ", ".join(
        f"{rows[i]['class']} {percent(shares['before'][i])} to {percent(shares['after'][i])} %" for i in places
    )
    legend = [{"title": title, "colour": COLOURS[kind]} for kind, (_, title) in bars.items()]
    legend += [{"title": "Truth", "colour": "var(--ink)"}] if true else []
    return {"figure": drawing(width, bottom + 40, label, parts), "legend": legend, "shown": len(places)}


def _shares(rows: list[dict[str, Any]], column: str) -> list[float]:
    total = sum(row[column] for row in rows) or 1
    return [row[column] / total for row in rows]

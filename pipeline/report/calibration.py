"""Reliability diagrams, and the intervals of the score table."""

from __future__ import annotations

from markupsafe import Markup

from pipeline.report.numbers import percent
from pipeline.report.read import Row
from pipeline.report.svg import Plot, drawing, tag, text, ticks


def diagram(rows: list[Row], title: str, shade: str) -> Markup:
    """Accuracy of each bin, and what is missing to its mean confidence or lies beyond it; below, how many images."""
    plot = Plot(260, 270, (0, 1), (0, 1))
    plot.bottom = 186
    plot.axes("", "Accuracy, %", ticks(0, 1, 5), ticks(0, 1, 5), share="xy")
    most = max((row["n"] for row in rows), default=0) or 1
    filled = [row for row in rows if row["n"]]
    for row in filled:
        sure, right = row["confidence"], row["accuracy"]
        x = (row["lo"] + 0.004, row["hi"] - 0.004)
        about = (
            f"confidence {percent(row['lo'])} to {percent(row['hi'])} %: {row['n']:.0f} images, "
            f"mean confidence {percent(sure)} %, accuracy {percent(right)} %"
        )
        plot.bar(x, (0, min(right, sure)), "bar", shade, about)
        plot.bar(x, (min(right, sure), max(right, sure)), "gap over" if sure > right else "gap under", shade, about)
        plot.bar(x, (right - 0.004, right + 0.004), "top", shade)
        left, height = plot.at_x(x[0]), max(1.0, 30 * row["n"] / most)
        box = {"x": left, "y": 240 - height, "width": plot.at_x(x[1]) - left, "height": height}
        plot.parts.append(tag("rect", tag("title", about), class_="much", **box))
    plot.line([(0, 0), (1, 1)], "muted", dash="3 4")
    plot.parts += [
        tag("line", x1=plot.left, x2=plot.right, y1=240, y2=240, class_="rule"),
        text(plot.left - 6, 236, "Images", "tick", "end"),
        text((plot.left + plot.right) / 2, 260, "Confidence, %", "axis", "middle"),
    ]
    told = "; ".join(f"{percent(r['confidence'], 0)} % sure, {percent(r['accuracy'], 0)} % right" for r in filled)
    return plot.draw(f"Reliability of {title}: {told}")


def whisker(low: float, value: float, high: float, span: tuple[float, float], shade: str) -> Markup:
    """A dot in its interval, on a scale that all rows of a table share."""

    def at(share: float) -> float:
        return 5 + (share - span[0]) / ((span[1] - span[0]) or 1) * 100

    colour = f"var(--{shade})"
    parts = [
        tag("line", x1=at(span[0]), x2=at(span[1]), y1=9, y2=9, class_="grid"),
        tag("line", x1=at(low), x2=at(high), y1=9, y2=9, style=f"stroke:{colour};stroke-width:3;stroke-linecap:round"),
        tag("circle", cx=at(value), cy=9, r=4.5, style=f"fill:{colour}"),
    ]
    label = f"{percent(value)} %, 95 % interval {percent(low)} to {percent(high)} %"
    return drawing(110, 18, label, parts, "whisker")

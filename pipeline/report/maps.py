"""Where features put the test images: a small scatter of each encoder and of the final classifier."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from markupsafe import Markup

from pipeline.errors import BadData
from pipeline.report.read import Row
from pipeline.report.run import Run
from pipeline.report.scores import about
from pipeline.report.svg import drawing, number, tag

SIDE, ROOM = 320, 6  # of the square that a map fits in, and around it for the dots
COLOURS = 10  # of the style sheet: class-1, ..., class-10
FEW = 500  # images up to which dots are large
TOGETHER = 12_000  # dots of all maps, so that the page keeps its size: six of 2,000


def maps(run: Run) -> dict[str, Any] | None:
    """The figures, random weights first and the final classifier last; a legend of up to ten classes. None without any.

    `shown` of `of` test images are drawn; of many maps every second image, or fewer. Raises BadData where a table names
    no class.
    """
    titles = {name: about(run, name) if name == "scratch" else name for name in run.probes}
    titles |= {run.final.name: run.final.title}
    names = [name for name in titles if name in run.embeddings]
    if not names:
        return None
    longest = max(len(run.embeddings[name]) for name in names)
    step = -(-longest * len(names) // TOGETHER)
    figures = [
        {"title": titles[name], "figure": _scatter(run, name, run.embeddings[name][::step], titles[name])}
        for name in names
    ]
    few = len(run.classes) <= COLOURS
    return {
        "figures": figures,
        "legend": [{"title": name, "colour": _colour(place)} for place, name in enumerate(run.classes) if few],
        "shown": -(-longest // step),
        "of": run.final.metrics["n"],
    }


def _colour(place: int) -> str:
    return f"class-{place % COLOURS + 1}"


def _scatter(run: Run, name: str, rows: list[Row], title: str) -> Markup:
    """A path for each class, of strokes without length: their round ends are the dots, in some fourteen bytes each."""
    dots: dict[str, list[Row]] = defaultdict(list)
    try:
        for row in rows:
            dots[row["class"]].append(row)
    except KeyError:
        raise BadData(f"scores/{name}/embedding.csv: has no column 'class'; run `evaluate` again") from None
    size = "dots" if len(rows) <= FEW else "dots small"
    wide, high = (SIDE * max(row[axis] for row in rows) for axis in "xy")
    left, top = ROOM + (SIDE - wide) / 2, ROOM + (SIDE - high) / 2
    parts = [
        tag(
            "path",
            d="".join(f"M{number(left + SIDE * r['x'])} {number(top + SIDE * r['y'])}h0" for r in dots[of]),
            class_=size,
            style=f"stroke:var(--{_colour(place)})",
        )
        for place, of in enumerate(run.classes)
        if of in dots
    ]
    label = f"Map of {len(rows)} test images by the features of {title}, coloured by {len(dots)} classes"
    return drawing(SIDE + 2 * ROOM, SIDE + 2 * ROOM, label, parts)

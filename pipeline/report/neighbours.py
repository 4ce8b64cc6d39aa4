"""The nearest neighbours that `evaluate` drew, as data inside the page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from pipeline.errors import BadData
from pipeline.report.run import Run

ROOM = 900_000  # bytes of the sheets in the page, in all: of small images dozens, of photographs at least four


def sheets(run: Run, root: Path) -> list[dict[str, Any]]:
    """The sheet of each pretraining run that has one, and for each of its lines the class and how many share it.

    `source` is None where the sheets before it left no room.
    """
    found, room = [], ROOM
    for name, rows in run.neighbours.items():
        picture = root / "scores" / name / "neighbours.png"
        lines: dict[str, dict[str, Any]] = {}
        try:
            for row in rows:
                line = lines.setdefault(row["query"], {"class": row["class"], "right": 0, "of": 0})
                line["right"] += row["neighbour_class"] == row["class"]
                line["of"] += 1
        except KeyError as missing:
            raise BadData(f"{picture.with_suffix('.csv')}: has no column {missing}; run `evaluate` again") from None
        if not lines or not picture.exists():
            continue
        data = picture.read_bytes()
        width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
        fits = len(data) <= room
        room -= len(data) if fits else 0
        found.append(
            {
                "name": name,
                "metrics": run.probes[name],
                "lines": list(lines.values()),
                "source": f"data:image/png;base64,{base64.b64encode(data).decode()}" if fits else None,
                "width": width,
                "height": height,
            }
        )
    return found

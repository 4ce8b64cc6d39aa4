"""The files that the page is made of. A missing one is BadData that names it; what a run never had is simply absent."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import BadData

Row = dict[str, Any]


def table(path: Path, numbers: tuple[str, ...] | None = None) -> list[Row]:
    """Rows of a CSV; the columns in `numbers` (None: all) as float, an empty cell as None."""
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows: list[Row] = list(reader)
            columns = reader.fieldnames or []
    except FileNotFoundError:
        raise BadData(f"{path}: no such file; run the stage that makes it, or `dvc repro`") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadData(f"{path}: not CSV ({error}); run `dvc repro` with this file removed") from None
    for name in columns if numbers is None else numbers:
        for line, row in enumerate(rows, 2):
            try:
                row[name] = float(row[name]) if row[name] else None
            except (KeyError, TypeError, ValueError):
                raise BadData(f"{path}:{line}: column {name!r} holds no number; make the file again") from None
    return rows


def page(path: Path, *keys: str) -> Row:
    """A JSON object that has `keys`."""
    found = files.read_json(path)
    if missing := [key for key in keys if not isinstance(found, dict) or key not in found]:
        raise BadData(f"{path}: has no {missing[0]!r}; run the stage that makes it again")
    return found


def curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """{column: [(step, value), ...]} of what was measured, in the order of the columns."""
    rows = table(path)
    if rows and rows[0].get("step") is None:
        raise BadData(f"{path}: has no column 'step'; run the stage that makes it again")
    columns = [name for name in (rows[0] if rows else {}) if name != "step"]
    return {name: [(row["step"], row[name]) for row in rows if row[name] is not None] for name in columns}

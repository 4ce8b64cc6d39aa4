"""The labels that a person gave to chosen images, in place of a draw: a CSV of key,label."""

from __future__ import annotations

import csv
from collections.abc import Container
from pathlib import Path

from pipeline.errors import BadData


def given_labels(path: Path, keys: Container[str], classes: list[str]) -> dict[str, int]:
    """key -> class; further columns are left alone.

    Raises BadData that names the line of an image that is not among `keys`, is there twice, or has no label or another
    one than `classes`, and the class that has no image.
    """
    found: dict[str, int] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := {"key", "label"} - set(reader.fieldnames or ()):
                raise BadData(f"{path}: line 1: no column {', '.join(sorted(missing))}; write key,label")
            for row in reader:
                here, key, label = f"{path}: line {reader.line_num}", row["key"] or "", (row["label"] or "").strip()
                if key not in keys:
                    raise BadData(f"{here}: no image has the key {key!r}; keys are paths without suffix")
                if key in found:
                    raise BadData(f"{here}: {key} is there twice; keep one of the two lines")
                if not label:
                    raise BadData(f"{here}: {key} has no label; fill it in, or remove the line")
                if label not in classes:
                    raise BadData(f"{here}: {label!r} is no class; choose from {', '.join(classes)[:500]}")
                found[key] = classes.index(label)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"data.labels: {path}: {error}") from None
    if bare := [name for k, name in enumerate(classes) if k not in found.values()]:
        raise BadData(
            f"{path}: no image of the class {bare[0]!r}; label one of each class, or name fewer in data.classes"
        )
    return found

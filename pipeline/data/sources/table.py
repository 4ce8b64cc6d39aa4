"""A folder of images and a CSV with the labels of a few: path,label[,split]. Every other image is unlabelled."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from pipeline.data.sources.source import SPLITS, UNKNOWN, Item, Source, images_below, key_of, read_bytes, unique
from pipeline.errors import BadData


def table(root: Path, path: Path) -> Source:
    """Classes: the sorted labels of the CSV. Raises BadData that names the CSV and the line."""
    rows = _rows(path)
    classes = sorted({label for label, _, _ in rows.values() if label})
    if not classes:
        raise BadData(f"{path}: no labels; give at least one image of each class a label")
    present = {image.relative_to(root).as_posix(): image for image in images_below(root)}
    items = []
    for name, (_, _, line) in rows.items():
        if name not in present:
            raise BadData(f"{path}: line {line}: there is no image {root / name}")
    for name, image in present.items():
        label, split, _ = rows.get(name, ("", None, 0))
        key = key_of(Path(name).with_suffix("").as_posix())
        number = classes.index(label) if label else UNKNOWN
        items.append(
            Item(key, str(image), split or (None if label else "unlabelled"), number, partial(read_bytes, image))
        )
    return Source(classes, unique(items))


def _rows(path: Path) -> dict[str, tuple[str, str | None, int]]:
    """path -> (label, split, line)"""
    rows: dict[str, tuple[str, str | None, int]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := {"path", "label"} - set(reader.fieldnames or ()):
                raise BadData(f"{path}: line 1: no column {', '.join(sorted(missing))}; write path,label[,split]")
            for row in reader:
                line, name = reader.line_num, (row["path"] or "").removeprefix("./")
                label, split = (row["label"] or "").strip(), (row.get("split") or "").strip() or None
                if name in rows:
                    raise BadData(f"{path}: line {line}: {name} is already on line {rows[name][2]}")
                if split not in (None, *SPLITS):
                    raise BadData(f"{path}: line {line}: split {split!r}; choose from {', '.join(SPLITS)}")
                if not label and split in ("val", "test"):
                    raise BadData(f"{path}: line {line}: {name} is in {split} but has no label")
                rows[name] = (label, split, line)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: {error}") from None
    return rows

"""A folder of class folders, or of train/, val/, test/ that hold class folders; unlabelled/ may stand beside both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.data.sources.source import (
    SPLITS,
    SUFFIXES,
    UNKNOWN,
    Item,
    Source,
    images_below,
    key_of,
    read_bytes,
    unique,
)
from pipeline.errors import BadData


def folders(root: Path) -> Source:
    """Classes: the sorted names of the class folders. Raises BadData where there are none, or images lie loose."""
    parts: dict[str, Path] = {name: root / name for name in SPLITS if (root / name).is_dir()}
    if "train" not in parts:
        parts["train"] = root
    class_folders = {
        part: sorted(p for p in folder.iterdir() if p.is_dir() and not (folder == root and p.name in SPLITS))
        for part, folder in parts.items()
        if part != "unlabelled"
    }
    classes = sorted({path.name for path in class_folders["train"]})
    if not classes:
        raise BadData(f"{parts['train']}: no class folders; give each class a folder of its images, or add labels.csv")
    for part, paths in class_folders.items():
        if unknown := [path for path in paths if path.name not in classes]:
            raise BadData(f"{unknown[0]}: a class that {parts['train']} does not have")
        if loose := [path for path in parts[part].iterdir() if path.suffix.lower() in SUFFIXES]:
            raise BadData(f"{loose[0]}: lies outside the class folders; move it into one, or into unlabelled/")
    items: list[Item] = []
    for part, paths in class_folders.items():
        for path in paths:
            items += _items(root, path, part, classes.index(path.name))
    if "unlabelled" in parts:
        items += _items(root, parts["unlabelled"], "unlabelled", UNKNOWN)
    return Source(classes, unique(items))


def _items(root: Path, folder: Path, part: str, label: int) -> Iterator[Item]:
    for path in images_below(folder):
        key = key_of(path.relative_to(root).with_suffix("").as_posix())
        yield Item(key, str(path), part, label, partial(read_bytes, path))

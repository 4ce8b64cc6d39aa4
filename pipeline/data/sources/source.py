"""What every source gives: its classes, and items that know how to read their image."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import BadData

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "unlabelled", "val", "test")
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp"),
    *(".bmp", ".gif", ".tif", ".tiff", ".heic", ".avif", ".jp2", ".ppm"),  # refused by name, and never a silent loss
)
UNKNOWN = -1
BYTE_LIMIT = 64 << 20  # of one encoded image


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source, not yet read."""

    key: str
    origin: str
    """the file (and member) to name in a message"""
    split: str | None
    """the split that the source itself gives it: train, unlabelled, val, test; None: not said, so train"""
    label: int
    """index in the classes of the source; UNKNOWN where it has none"""
    read: Callable[[], bytes | Image]


@dataclass(frozen=True)
class Source:
    classes: list[str]
    items: list[Item]


def key_of(name: str) -> str:
    """A key for any name. Where characters must be replaced, a hash of the name keeps two names two keys."""
    key = re.sub("/+", "/", re.sub(r"[^A-Za-z0-9_/-]", "_", name)).strip("/")
    if key == name and 0 < len(key) <= 200:
        return key
    mark = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=5).hexdigest()
    return f"{key[-180:].strip('/') or 'image'}-{mark}"


def files_below(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Every file at any depth, hidden ones apart, with one system call for each folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                if entry.is_dir():
                    yield from files_below(entry.path)
                elif entry.is_file():
                    yield entry


def images_below(folder: Path) -> Iterator[Path]:
    for entry in files_below(folder):
        if entry.name.lower().endswith(SUFFIXES):
            yield Path(entry.path)


def unique(items: Iterable[Item]) -> list[Item]:
    """The items by key. Raises BadData that names both places of a key that is there twice."""
    by_key: dict[str, Item] = {}
    for item in items:
        if (first := by_key.setdefault(item.key, item)) is not item:
            raise BadData(f"{item.origin}: the same key {item.key!r} as {first.origin}; rename or remove one of them")
    return [by_key[key] for key in sorted(by_key)]


def read_bytes(path: Path, offset: int = 0, size: int | None = None) -> bytes:
    """The bytes of one encoded image, by default the whole file. Raises BadData where they are gone or too many."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size if size is None else size
            if size > BYTE_LIMIT:
                raise BadData(f"{size:,} bytes; an image has at most {BYTE_LIMIT:,}")
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise BadData(error.strerror or "cannot be read") from None

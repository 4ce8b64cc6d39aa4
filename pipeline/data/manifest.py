"""The page beside the shards of a split: what is in them, where each image lies, and what the bytes must hash to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Len
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from pipeline import files
from pipeline.errors import BadData, WrongVersion

VERSION = 1
SPLITS = ("labelled", "unlabelled", "val", "test")
SHARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}\.tar")
KEY = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")  # no dots: webdataset ends a key at the first one

Sha256 = Annotated[str, Len(64, 64)]


class Entry(BaseModel):
    """One shard: row i has keys[i], labels[i] (-1: none) and its image in bytes members[i] = [offset, size]."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    name: str
    bytes: int
    sha256: Sha256
    samples: Annotated[int, Gt(0)]
    keys: list[str]
    labels: list[Annotated[int, Ge(-1)]]
    members: list[Annotated[list[Annotated[int, Gt(0)]], Len(2, 2)]]


class Manifest(BaseModel):
    """`mean` and `std` are those of the training images on the scale [0, 1], one number per channel."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    version: Literal[1]
    split: Literal["labelled", "unlabelled", "val", "test"]
    samples: int
    classes: list[str]
    classes_sha256: Sha256
    size: Annotated[int, Gt(0)]
    channels: Literal[1, 3]
    mean: list[FiniteFloat]
    std: list[FiniteFloat]
    keys_sha256: Sha256
    shards: Annotated[list[Entry], Len(0, 100_000)]
    sha256: Sha256

    def about_images(self) -> dict[str, Any]:
        """What a network must know of the images it is for."""
        return {
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            "size": self.size,
            "channels": self.channels,
        }

    @property
    def keys(self) -> list[str]:
        return [key for shard in self.shards for key in shard.keys]


def classes_sha256(classes: list[str]) -> str:
    return hashlib.sha256("\n".join(classes).encode()).hexdigest()


def keys_text(keys: list[str]) -> str:
    return "".join(f"{key}\n" for key in keys)


def keys_sha256(keys: list[str]) -> str:
    return hashlib.sha256((keys_text(keys)).encode()).hexdigest()


def seal(page: dict[str, Any]) -> dict[str, Any]:
    """The page with the hash of all the rest of it, so that a flipped bit of the manifest itself is noticed too."""
    rest = {name: value for name, value in page.items() if name != "sha256"}
    return rest | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def read(folder: Path) -> Manifest:
    """The checked manifest of a split. Raises WrongVersion, or BadData naming the file and what is wrong in it."""
    path = folder / "manifest.json"
    page = files.read_json(path)
    version = page.get("version") if isinstance(page, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise WrongVersion(f"{path}: version {version}; this ssl-pipe reads version {VERSION}; run `prepare` again")
    try:
        manifest = Manifest.model_validate(page)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the page"
        raise BadData(f"{path}: {where}: {first['msg']}; run `prepare` again") from None
    if fault := next(_faults(manifest, page), None):
        raise BadData(f"{path}: {fault}; run `prepare` again")
    return manifest


def _faults(manifest: Manifest, page: dict[str, Any]) -> Iterator[str]:
    """What the shape alone cannot say."""
    classes, lowest = manifest.classes, -1 if manifest.split == "unlabelled" else 0
    seen: dict[str, str] = {}
    for shard in manifest.shards:
        if not SHARD_NAME.fullmatch(shard.name):
            yield f"{shard.name!r} is not the plain name of a tar in this folder"
        if not len(shard.keys) == len(shard.labels) == len(shard.members) == shard.samples:
            yield f"{shard.name}: {shard.samples} samples, but {len(shard.keys)} keys, {len(shard.labels)} labels"
        for key, label, (offset, size) in zip(shard.keys, shard.labels, shard.members, strict=False):
            if not KEY.fullmatch(key):
                yield f"{shard.name}: {key[:80]!r} is not a key (letters, digits, _ and -, parts between /)"
            if key in seen:
                yield f"the key {key!r} is in {seen[key]} and again in {shard.name}"
            if not lowest <= label < len(classes):
                yield f"{shard.name}: {key}: label {label}, but the classes are 0 to {len(classes) - 1}"
            if offset + size > shard.bytes:
                yield f"{shard.name}: {key}: bytes {offset} to {offset + size} of a file of {shard.bytes}"
            seen[key] = shard.name
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        yield "a shard is named twice"
    if manifest.samples != len(seen):
        yield f"{manifest.samples} samples, but {len(seen)} keys"
    if len(set(classes)) != len(classes) or classes_sha256(classes) != manifest.classes_sha256:
        yield "the class list is not the one that was hashed (another order, name or number)"
    if not len(manifest.mean) == len(manifest.std) == manifest.channels:
        yield f"mean and std must have {manifest.channels} numbers"
    if keys_sha256(manifest.keys) != manifest.keys_sha256:
        yield "the keys are not those that were hashed"
    if seal(page)["sha256"] != manifest.sha256:
        yield "its content does not match its sha256"

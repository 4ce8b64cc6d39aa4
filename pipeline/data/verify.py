"""Everything that can be wrong with the shards of a project, found by reading all of their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import files
from pipeline.data import manifest as manifests
from pipeline.data import tars
from pipeline.data.images import decode
from pipeline.data.manifest import KEY, SPLITS, Entry, Manifest
from pipeline.errors import PipeError

IMAGES = ("jpg", "png", "webp")
ALLOWED = (*IMAGES, "cls", "json")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def verify(root: Path | str) -> list[Finding]:
    """What is wrong with the shards under `root`/shards; an empty list says that every byte is as it was made.

    Checks sizes, hashes, counts, keys, members, labels, that each image decodes to the stated size, that no image of
    val or test is trained on, and that all splits have one class list; of the shards of `more` all that concerns them
    alone. Raises nothing; a damaged file is a finding.
    """
    shards = Path(root) / "shards"
    found: list[Finding] = []
    pages: dict[str, Manifest] = {}
    more = sorted({path.name for path in shards.glob("*/") if not path.name.startswith(".")} - {*SPLITS})
    for folder in [shards / split for split in (*SPLITS, *more) if (shards / split).is_dir()]:
        page, wrong = _folder(folder)
        found += wrong
        if page:
            pages[folder.name] = page
    if not pages and not found:
        found.append(Finding(str(shards), "no shards; run `prepare`"))
    splits = {split: page for split, page in pages.items() if split in SPLITS}
    return found + [Finding(str(shards), message) for message in _between(splits)]


def verify_folder(folder: Path | str) -> list[Finding]:
    """What is wrong with the shards of one folder, wherever it is; checks what `verify` does of a single split."""
    return _folder(Path(folder))[1]


def _folder(folder: Path) -> tuple[Manifest | None, list[Finding]]:
    try:
        page = manifests.read(folder)
    except (PipeError, OSError) as error:
        return None, [Finding(str(folder), str(error).removeprefix(f"{folder}/"))]
    return page, [Finding(str(folder / name), message) for name, message in _split(folder, page)]


def _between(pages: dict[str, Manifest]) -> Iterator[str]:
    keys = {split: set(page.keys) for split, page in pages.items()}
    training = keys.get("labelled", set()) | keys.get("unlabelled", set())
    for split in ("val", "test"):
        if both := keys.get(split, set()) & training:
            yield f"{len(both)} images of {split} are in the training splits too, such as {min(both)!r}"
    if both := keys.get("val", set()) & keys.get("test", set()):
        yield f"{len(both)} images of val are in test too, such as {min(both)!r}"
    if "unlabelled" in keys and (missing := keys.get("labelled", set()) - keys["unlabelled"]):
        yield f"{len(missing)} labelled images are not among the unlabelled, such as {min(missing)!r}"
    if len({page.classes_sha256 for page in pages.values()}) > 1:
        yield "the splits differ in their class lists"


def _split(folder: Path, page: Manifest) -> Iterator[tuple[str, str]]:
    listed = {entry.name for entry in page.shards}
    for path in sorted(folder.iterdir()):
        if path.name not in listed | {"manifest.json", "keys.txt"}:
            yield path.name, "not in the manifest"
    try:
        if files.sha256(folder / "keys.txt") != page.keys_sha256:
            yield "keys.txt", "not the keys of the manifest"
    except OSError as error:
        yield "keys.txt", error.strerror or "cannot be read"
    for entry in page.shards:
        try:
            for message in _shard(folder / entry.name, entry, page):
                yield entry.name, message
        except (PipeError, OSError) as error:
            yield entry.name, str(error).removeprefix(f"{folder / entry.name}: ")


def _shard(path: Path, entry: Entry, page: Manifest) -> Iterator[str]:
    size = path.stat().st_size
    if not path.is_file() or size != entry.bytes:
        yield f"{size:,} bytes, the manifest says {entry.bytes:,}"
        return
    if (actual := files.sha256(path)) != entry.sha256:
        yield f"sha256 {actual[:12]}..., the manifest says {entry.sha256[:12]}..."
    expected = zip(entry.keys, entry.members, strict=True)
    seen: set[str] = set()
    said: dict[str, bytes] = {}
    with open(path, "rb") as file:
        for member in tars.members(path):
            folder, _, base = member.name.rpartition("/")
            stem, _, extension = base.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            if not KEY.fullmatch(key) or extension not in ALLOWED:
                yield f"{member.name[:80]!r} is not a key with one of {', '.join(ALLOWED)}"
            elif member.name in seen:
                yield f"{member.name!r} is there twice"
            elif extension in IMAGES:
                wanted_key, place = next(expected, ("", []))
                if (key, [member.offset, member.size]) != (wanted_key, place):
                    yield f"{member.name!r} is not what the manifest lists here ({wanted_key or 'nothing more'!r})"
                    return  # from here on every row would be wrong
                try:
                    decode(os.pread(file.fileno(), member.size, member.offset), page.size, page.channels)
                except PipeError as error:
                    yield f"{key}: {error}"
            elif extension == "cls":
                said[key] = os.pread(file.fileno(), min(member.size, 20), member.offset)
            seen.add(member.name)
    if missing := next(expected, None):
        yield f"{missing[0]!r} is in the manifest, but not here"
    for key, label in zip(entry.keys, entry.labels, strict=True):
        if said.get(key, b"-1") != str(label).encode():
            yield f"{key}: labelled {said.get(key, b'-1')!r} in the shard, {label} in the manifest"

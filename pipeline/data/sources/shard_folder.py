"""A folder of webdataset tars (also in train/, unlabelled/, val/, test/) with a label as `cls` or in `json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from pipeline.data import tars
from pipeline.data.sources.source import SPLITS, UNKNOWN, Item, Source, key_of, read_bytes, unique
from pipeline.errors import BadData

IMAGES = ("jpg", "jpeg", "png", "webp")
LABEL_LIMIT = 1 << 20  # bytes of a cls or json member


def shard_folder(root: Path, names: list[str] | None) -> Source:
    """Labels may be texts (classes: sorted) or whole numbers (classes: `names`, else "0", "1", ...).

    No other member is ever read, whatever its name. Raises BadData that names the tar and the member.
    """
    samples = []
    for part in (None, *SPLITS):
        folder = root / part if part else root
        for path in sorted(folder.glob("*.tar")):
            samples += [(part, path, *sample) for sample in _samples(path)]
    texts = sorted({label for *_, label in samples if isinstance(label, str)})
    numbers = {label for *_, label in samples if isinstance(label, int)}
    if texts and numbers:
        raise BadData(f"{root}: labels are numbers in some samples and names, such as {texts[0]!r}, in others")
    if not texts and not numbers:
        raise BadData(f"{root}: no sample has a label; add a cls member, or a json member with a label, to a few")
    classes = texts or [str(number) for number in range(max(numbers) + 1)]
    if numbers and names and not set(names) <= set(classes):  # names for the numbers, rather than a choice of them
        if len(names) <= max(numbers):
            raise BadData(f"data.classes: {len(names)} names, but {root} has the label {max(numbers)}")
        classes = names
    position: dict[str | int | None, int] = {name: number for number, name in enumerate(texts)} | {None: UNKNOWN}
    return Source(
        classes,
        unique(
            Item(
                key_of(key),
                f"{path}: {image.name}",
                part,
                label if isinstance(label, int) else position[label],
                partial(read_bytes, path, image.offset, image.size),
            )
            for part, path, key, image, label in samples
        ),
    )


def _samples(path: Path) -> Iterator[tuple[str, tars.Member, str | int | None]]:
    """(key, image, label) of each sample; as in webdataset, a key ends at the first dot of the file's name."""
    for key, group in groupby(tars.members(path), partial(_key, path)):
        found: dict[str, tars.Member] = {}
        for member in group:
            extension = _extension(path, member)
            if extension in found:
                raise BadData(
                    f"{path}: {member.name} is there twice, at bytes {found[extension].offset} and {member.offset}"
                )
            found[extension] = member
        images = [found[extension] for extension in IMAGES if extension in found]
        if len(images) != 1:
            raise BadData(f"{path}: {key}: {len(images)} images among its {len(found)} members; a sample has one")
        yield key, images[0], _label(path, found)


def _key(path: Path, member: tars.Member) -> str:
    name = member.name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/"):
        raise BadData(f"{path}: {member.name[:80]!r}: the name leaves the archive; make it again with plain names")
    folder, _, base = name.rpartition("/")
    return f"{folder}/{base.partition('.')[0]}" if folder else base.partition(".")[0]


def _extension(path: Path, member: tars.Member) -> str:
    extension = member.name.rpartition("/")[2].partition(".")[2].lower()
    if "." in extension and extension.endswith(IMAGES):
        raise BadData(f"{path}: {member.name[:80]!r}: webdataset ends a key at its first dot; rename it without one")
    return extension


def _label(path: Path, found: dict[str, tars.Member]) -> str | int | None:
    """The number or name in `cls`, else in `json` under "label"; None where there is neither."""
    member = found.get("cls") or found.get("json")
    if member is None:
        return None
    if member.size > LABEL_LIMIT:
        raise BadData(f"{path}: {member.name}: {member.size:,} bytes; a label has at most {LABEL_LIMIT:,}")
    try:
        text = read_bytes(path, member.offset, member.size).decode()
        label = text.strip() if "cls" in found else json.loads(text).get("label")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadData(f"{path}: {member.name}: no label can be read from it ({error})") from None
    if isinstance(label, str) and label.isdecimal():
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, str | int | None) or label == "" or label == "-1":
        raise BadData(f"{path}: {member.name}: {str(label)[:80]!r} is neither a name nor a number from 0")
    if isinstance(label, int) and not 0 <= label < 100_000:
        raise BadData(f"{path}: {member.name}: label {label}; numbers from 0 to 99,999 are allowed")
    return label

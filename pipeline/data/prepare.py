"""From a source to the shards of its splits, in one pass: read, standardise, encode, write."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline import files
from pipeline.data.manifest import SPLITS
from pipeline.data.sources import open_source
from pipeline.data.split import Place, draw, ranked
from pipeline.data.standardise import encode, standardise
from pipeline.data.write import SplitWriter
from pipeline.errors import BadData

if TYPE_CHECKING:
    from pipeline.params import Data

TOLERATED = 0.001  # share of unreadable images that `on_bad: skip` may skip
CHUNK = 32  # images a worker takes at a time


class Ready(NamedTuple):
    image: bytes
    sums: np.ndarray
    """(2, channels): the sums of its pixels and of their squares; whole numbers, so no order of adding changes them"""


def prepare(data: Data, root: Path | str, workers: int = 2) -> dict[str, int]:
    """Write shards/* and truth/unlabelled.json under `root`; returns the number of images in each split.

    The bytes depend on the source and on `data` alone, not on `workers`. Every split appears whole or not at all.
    Raises BadData naming the image, class or key, and CannotWrite naming the folder.
    """
    root = Path(root)
    classes, places = draw(open_source(data, root / "raw"), data)
    folders = {split: root / "shards" / split for split in SPLITS}
    counts = _write(folders, classes, places, data, workers)
    unlabelled = set((folders["unlabelled"] / "keys.txt").read_text().splitlines())
    truth = {p.item.key: p.label for p in places if p.item.key in unlabelled and p.label is not None}
    files.write_json(root / "truth" / "unlabelled.json", {"classes": classes, "labels": truth})
    return counts


def prepare_more(data: Data, source: str, root: Path | str, name: str, workers: int = 2) -> dict[str, int]:
    """Write shards/<name> under `root`: the training images of `source`, made as `data` makes its own, without labels.

    Returns and raises as `prepare` does.
    """
    root = Path(root)
    found = open_source(data.model_copy(update={"source": source, "csv": None}), root / "raw")
    items = [item for item in found.items if item.split not in ("val", "test")]
    places = [Place(item, ("unlabelled",), None) for item in ranked(items, data.seed, "order")]
    return _write({"unlabelled": root / "shards" / name}, [], places, data, workers)


def _write(
    folders: Mapping[str, Path], classes: list[str], places: list[Place], data: Data, workers: int
) -> dict[str, int]:
    """Each image into the folders of its splits; how many each split has, and how many were skipped."""
    skipped, sums = 0, np.zeros((2, data.channels), np.int64)
    with ExitStack() as published:
        writers = {}
        for split, path in folders.items():
            folder = published.enter_context(files.publish(path))
            writers[split] = published.enter_context(SplitWriter(folder, split, data.shard, data.format))
        for place, ready in _in_order(places, data, workers):
            if isinstance(ready, BadData):
                skipped += 1
                _judge(data, place, ready, skipped, len(places))
                continue
            for split in place.splits:
                writers[split].add(place.item.key, ready.image, -1 if place.label is None else place.label)
            if "unlabelled" in place.splits:
                sums += ready.sums
        counts = {split: len(writer.labels) for split, writer in writers.items()}
        mean, squares = sums / (counts["unlabelled"] * data.size**2)
        std = np.sqrt(squares - mean**2) / 255
        for writer in writers.values():
            writer.close(classes, data.size, data.channels, (mean / 255).tolist(), std.tolist())
    return counts | {"skipped": skipped}


def _judge(data: Data, place: Place, error: BadData, skipped: int, total: int) -> None:
    if data.on_bad == "stop":
        raise BadData(f"{place.item.origin}: {error}; mend or remove it, or set data.on_bad: skip")
    if skipped > TOLERATED * total:
        raise BadData(
            f"{place.item.origin}: {error}; {skipped} of {total} images are bad, more than 0.1 % are too many"
        )


def _in_order(places: list[Place], data: Data, workers: int) -> Iterator[tuple[Place, Ready | BadData]]:
    """Each place with its image, in the order given, a few chunks ahead of the writer and no more.

    Threads: Pillow lets go of the interpreter while it decodes, resizes and encodes; no process is left behind.
    """

    def work(chunk: list[Place]) -> list[tuple[Place, Ready | BadData]]:
        return [(place, _ready(place, data)) for place in chunk]

    waiting: deque[Future[list[tuple[Place, Ready | BadData]]]] = deque()
    todo = iter(places)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(todo, CHUNK)):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _ready(place: Place, data: Data) -> Ready | BadData:
    try:
        pixels = standardise(place.item.read(), data.size, data.channels)
    except BadData as error:
        return error
    flat = pixels.reshape(-1, data.channels).astype(np.int64)
    return Ready(encode(pixels, data.format), np.stack([flat.sum(0), (flat**2).sum(0)]))

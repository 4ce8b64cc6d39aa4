"""Who trains, who is hidden, who is kept for measuring: drawn once, by a hash of each key."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline import seed
from pipeline.data.given import given_labels
from pipeline.data.sources.source import UNKNOWN, Item, Source
from pipeline.errors import BadData

if TYPE_CHECKING:
    from pipeline.params import Data

OUT = -1  # of class: the label is known, and is none of the declared classes


class Place(NamedTuple):
    """One image, the splits it is written to, and its label: None where the source does not know it."""

    item: Item
    splits: tuple[str, ...]
    label: int | None


def draw(source: Source, data: Data) -> tuple[list[str], list[Place]]:
    """The classes, and the place of each image that is used, in a shuffled order.

    Every draw ranks keys by a hash with `data.seed`: neither the order of the items nor the images of other classes
    change it, and a larger `labels_per_class` keeps the images of a smaller one. `data.labels` takes the place of the
    draw of labelled images, and of no other. Raises BadData that names the class, or the line of that file.
    """
    classes = _classes(source, data)
    number = {source.classes.index(name): i for i, name in enumerate(classes)}
    label = {i.key: None if i.label == UNKNOWN else number.get(i.label, OUT) for i in source.items}
    places: list[Place] = []

    def put(items: Iterable[Item], *splits: str) -> None:
        places.extend(Place(item, splits, label[item.key]) for item in items)

    rest = [item for item in source.items if item.split not in ("val", "test")]
    known = {k: [i for i in rest if label[i.key] == k and i.split != "unlabelled"] for k in range(len(classes))}
    given = {item.split for item in source.items}
    inside = [item for item in rest if item.split == "unlabelled" and label[item.key] not in (None, OUT)]
    for k, items in known.items():
        total = len(items)
        for split, share in (("test", data.test), ("val", data.validation)):
            count = max(1, _round(share * total)) if share and split not in given else 0
            first = ranked(items, data.seed, split)
            put(first[:count], split)
            items = first[count:]
        count = 0 if data.labels else _labelled(data, classes[k], len(items), total)
        first = ranked(items, data.seed, "labelled")
        put(first[:count], "labelled", "unlabelled")
        inside += first[count:]
    if data.labels:
        given_by = given_labels(Path(data.labels), label, classes)
        train = {item.key for item in rest} - {place.item.key for place in places}
        if kept := sorted(given_by.keys() - train):
            raise BadData(f"{data.labels}: {kept[0]} is kept for validation or test; label other images")
        label |= given_by
        inside = [item for item in inside if item.key not in given_by]
        put((item for item in rest if item.key in given_by), "labelled", "unlabelled")
    outside = [item for item in rest if label[item.key] == OUT]
    put(_mixed(inside, outside, data), "unlabelled")
    put([item for item in rest if label[item.key] is None], "unlabelled")
    for split in ("val", "test"):
        put([i for i in source.items if i.split == split and label[i.key] not in (None, OUT)], split)
    order = {place.item.key: place for place in places}
    return classes, [order[item.key] for item in ranked((p.item for p in places), data.seed, "order")]


def ranked(items: Iterable[Item], seed_: int, purpose: str) -> list[Item]:
    """In an order of their own for each seed and purpose."""
    return sorted(items, key=lambda item: (seed.number(seed_, "split", purpose, item.key), item.key))


def _classes(source: Source, data: Data) -> list[str]:
    classes = list(data.classes or source.classes)
    if unknown := [name for name in classes if name not in source.classes]:
        raise BadData(
            f"data.classes: {data.source} has no class {unknown[0]!r}; it has {', '.join(source.classes)[:500]}"
        )
    if len(set(classes)) != len(classes):
        raise BadData("data.classes: a class is named twice")
    return classes


def _labelled(data: Data, name: str, left: int, total: int) -> int:
    """How many of the `left` training images of a class keep their label."""
    wanted = data.labels_per_class or 1
    if left < wanted:
        raise BadData(
            f"data: class {name!r}: {wanted} labelled images wanted, {left} left for training of {total}; "
            "lower labels_per_class, validation or test, or add images"
        )
    if data.labels_per_class:
        return data.labels_per_class
    return max(1, _round(data.label_fraction * left)) if data.label_fraction else left


def _mixed(inside: list[Item], outside: list[Item], data: Data) -> list[Item]:
    """`in_class` of them from inside the classes; as many in all as there are inside, whatever the share.

    Where the images outside are too few for that, the whole is smaller and the share is kept (arXiv:1804.09170).
    """
    if data.in_class == 1:
        return inside
    if not outside:
        raise BadData(f"data.in_class: {data.in_class}, but no image is out of class; name the classes in data.classes")
    if not inside:
        raise BadData("data.in_class: every image of the classes is labelled; lower labels_per_class or label_fraction")
    out = 1 - data.in_class
    total = min(len(inside), math.floor(len(outside) / out + 1e-9))
    from_outside = min(_round(out * total), len(outside))
    chosen = ranked(inside, data.seed, "inside")[: total - from_outside]
    return chosen + ranked(outside, data.seed, "outside")[:from_outside]


def _round(number: float) -> int:
    return math.floor(number + 0.5)

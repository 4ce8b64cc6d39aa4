"""The sets that torchvision can fetch; STL10 comes with its unlabelled images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.data.sources.source import UNKNOWN, Item, Source
from pipeline.errors import BadData


def torchvision_set(name: str, raw: Path) -> Source:
    """Downloads into `raw` what is not there. Raises BadData that says where the files belong where it cannot."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        if name in ("STL10", "SVHN"):
            parts = {"train": kind(raw, split="train", download=True), "test": kind(raw, split="test", download=True)}
        else:
            parts = {"train": kind(raw, train=True, download=True), "test": kind(raw, train=False, download=True)}
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors
        reason = " ".join(str(error).split())
        raise BadData(
            f"{name}: no complete copy in {raw}, and it cannot be downloaded ({reason}); put the files that "
            f"torchvision.datasets.{name} expects there"
        ) from None
    items = [item for part, loaded in parts.items() for item in _items(part, loaded.data, _labels(loaded))]
    if name == "STL10":  # 2.7 GB: mapped, where torchvision would load it
        path = raw / kind.base_folder / kind.train_list[2][0]
        pixels = np.memmap(path, np.uint8, "r").reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
        items += _items("unlabelled", pixels, None)
    classes = getattr(parts["train"], "classes", None) or [str(digit) for digit in range(10)]
    return Source(list(classes), items)


def _labels(loaded: Any) -> list[int]:
    return np.asarray(loaded.targets if hasattr(loaded, "targets") else loaded.labels).tolist()


def _items(part: str, pixels: Any, labels: list[int] | None) -> Iterator[Item]:
    pixels = pixels if isinstance(pixels, np.ndarray) else pixels.numpy()
    if pixels.ndim == 4 and pixels.shape[1] == 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    for i in range(len(pixels)):
        label = UNKNOWN if labels is None else int(labels[i])
        yield Item(f"{part}/{i:06d}", f"{part} image {i}", part, label, partial(_image, pixels, i))


def _image(pixels: np.ndarray, i: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[i]))

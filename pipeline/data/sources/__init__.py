"""Where images come from: one file for each kind, chosen by the word in `data.source`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.source import SPLITS, Source
from pipeline.errors import BadData

if TYPE_CHECKING:
    from pipeline.params import Data

TORCHVISION = ("CIFAR10", "CIFAR100", "STL10", "SVHN", "MNIST", "FashionMNIST")
BUILT_IN = ("digits", *TORCHVISION)


def kind_of(data: Data) -> str:
    """`digits`, `torchvision`, or what the folder holds: `shards`, `table` (a CSV) or `folders`. Raises BadData."""
    if data.source in BUILT_IN:
        return "digits" if data.source == "digits" else "torchvision"
    folder = Path(data.source)
    if not folder.is_dir():
        choices = ", ".join(BUILT_IN)
        raise BadData(f"data.source: {data.source!r} is no folder, and none of the built-in sets {choices}")
    if data.csv or (folder / "labels.csv").is_file():
        return "table"
    return "shards" if any(any(part.glob("*.tar")) for part in (folder, *map(folder.joinpath, SPLITS))) else "folders"


def open_source(data: Data, raw: Path) -> Source:
    """The source that `data.source` names; built-in sets are kept in `raw`. Raises BadData."""
    kind = kind_of(data)
    if kind == "digits":
        from pipeline.data.sources.digits import digits

        return digits()
    if kind == "torchvision":
        from pipeline.data.sources.torchvision_sets import torchvision_set

        return torchvision_set(data.source, raw)
    folder = Path(data.source)
    if kind == "table":
        from pipeline.data.sources.table import table

        return table(folder, Path(data.csv) if data.csv else folder / "labels.csv")
    if kind == "shards":
        from pipeline.data.sources.shard_folder import shard_folder

        return shard_folder(folder, data.classes)
    from pipeline.data.sources.folders import folders

    return folders(folder)

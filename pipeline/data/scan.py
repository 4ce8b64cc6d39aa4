"""What a source looks like from outside, cheaply: DVC compares it to know whether `prepare` must run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import files
from pipeline.data.sources import kind_of
from pipeline.data.sources.source import files_below
from pipeline.errors import BadData

if TYPE_CHECKING:
    from pipeline.params import Data


def scan(data: Data) -> dict[str, Any]:
    """{"source", "kind"} and, of a folder, "files": {name: [bytes, mtime in ns]}. Opens none. Raises BadData.

    Of `data.labels` the sha256: what a person edits by hand is small, and its time says less.
    """
    kind = kind_of(data)
    found: dict[str, Any] = {"source": data.source, "kind": kind}
    if data.labels:
        try:
            found["labels"] = files.sha256(data.labels)
        except OSError as error:
            raise BadData(f"data.labels: {data.labels}: {error.strerror}; `ssl-pipe choose` writes one") from None
    if kind in ("digits", "torchvision"):
        return found
    root = os.path.join(data.source, "")
    found["files"] = {entry.path.removeprefix(root): _stamp(entry.stat()) for entry in files_below(root)}
    if data.csv and Path(data.csv).is_file():
        found["csv"] = _stamp(os.stat(data.csv))
    return found


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns]

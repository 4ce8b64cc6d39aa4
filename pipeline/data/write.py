"""Writing a split: plain webdataset shards, and beside them the manifest and the keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from pipeline import files
from pipeline.data import tars
from pipeline.data.manifest import KEY, VERSION, classes_sha256, keys_sha256, keys_text, seal
from pipeline.errors import BadData


class SplitWriter:
    """Fills `folder` with the shards of one split. The same samples in the same order give the same bytes.

    A label is stored as a `cls` member too, so that any webdataset reader finds it; the unlabelled split has none.
    What else is known of a sample is its `json` member.
    """

    def __init__(self, folder: Path, split: str, per_shard: int, extension: str):
        self.folder, self.split, self.per_shard, self.extension = folder, split, per_shard, extension
        self.entries: list[dict[str, Any]] = []
        self.labels: dict[str, int] = {}
        self._shards: Any = None  # webdataset has no types
        self._file: BinaryIO

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed and self._shards is not None:
            with contextlib.suppress(Exception):  # closed here, or tarfile's destructor would complain on stderr
                self._shards.tarstream.close()
                self._file.close()

    def add(self, key: str, image: bytes, label: int, about: dict[str, Any] | None = None) -> None:
        """Raises BadData on a key that is not one, or that is there already."""
        if not KEY.fullmatch(key) or key in self.labels:
            raise BadData(f"{self.folder}: the key {key[:80]!r} is " + ("a duplicate" if key in self.labels else "bad"))
        sample = {"__key__": key, self.extension: image}
        if self.split != "unlabelled":
            sample["cls"] = str(label).encode()
        if about is not None:
            sample["json"] = files.dumps(about).encode()
        self.labels[key] = label if "cls" in sample else -1
        if self._shards is None:  # ShardWriter opens its first file at once, and an empty split has none
            import webdataset  # brings torch

            pattern = f"{self.folder}/{self.split}-".replace("%", "%%") + "%06d.tar"
            self._shards = webdataset.ShardWriter(
                pattern,
                maxcount=self.per_shard,
                maxsize=float("inf"),
                post=self._finished,
                opener=self._open,
                verbose=0,
                mtime=0,
                encoder=False,
            )
        self._shards.write(sample)

    def close(self, classes: list[str], size: int, channels: int, mean: list[float], std: list[float]) -> None:
        """End the last shard; write keys.txt and, last of all, manifest.json."""
        if self._shards is not None:
            self._shards.close()
        keys = list(self.labels)
        page = {"version": VERSION, "split": self.split, "samples": len(keys), "shards": self.entries}
        page |= {"classes": classes, "classes_sha256": classes_sha256(classes), "keys_sha256": keys_sha256(keys)}
        page |= {"size": size, "channels": channels, "mean": mean, "std": std}
        files.write_bytes(self.folder / "keys.txt", keys_text(keys).encode())
        files.write_json(self.folder / "manifest.json", seal(page))

    def _open(self, name: str) -> BinaryIO:
        """In place of webdataset's own opener, which takes `#` and `?` in a path for parts of a URL."""
        self._file = open(name, "wb")  # noqa: SIM115
        return self._file

    def _finished(self, name: str) -> None:
        self._file.close()
        path = Path(name)
        images = [member for member in tars.members(path) if member.name.endswith(f".{self.extension}")]
        keys = [member.name.rpartition(".")[0] for member in images]
        entry = {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path), "samples": len(keys)}
        entry |= {"keys": keys, "members": [[m.offset, m.size] for m in images]}
        self.entries.append(entry | {"labels": [self.labels[key] for key in keys]})


def write_split(
    folder: Path,
    split: str,
    samples: Iterable[tuple[str, bytes, int]],
    *,
    classes: list[str],
    size: int,
    channels: int = 3,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    per_shard: int = 1000,
    extension: str = "png",
) -> None:
    """Publish (key, encoded image, label) samples as the split `folder`: all of it, or nothing."""
    with files.publish(folder) as temporary, SplitWriter(temporary, split, per_shard, extension) as writer:
        for key, image, label in samples:
            writer.add(key, image, label)
        writer.close(classes, size, channels, mean or [0.5] * channels, std or [0.25] * channels)

"""Reading a split: an index over its manifest and `os.pread`. No tar is parsed, nothing but images is ever decoded."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.data import manifest as manifests
from pipeline.data.images import Images, OnDemand, decode, decode_all
from pipeline.data.manifest import Manifest
from pipeline.errors import BadData

CHUNK = 1024  # images decoded at once while a whole split is read


@dataclass(frozen=True)
class Shard:
    """One tar of a split; its rows are `start` to `start + samples` of the split, in the order of `keys`."""

    path: Path
    name: str
    start: int
    samples: int
    keys: list[str]
    bytes: int
    sha256: str


class ShardSet:
    """The shards of one split. `keys` and `labels` (int64, -1: none) are in row order, row = position in the split."""

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder, self.manifest = folder, manifest
        self.keys = manifest.keys
        self.labels = np.array([label for entry in manifest.shards for label in entry.labels], np.int64)
        members = [member for entry in manifest.shards for member in entry.members]
        self.members = np.array(members, np.int64).reshape(-1, 2)
        counts = [entry.samples for entry in manifest.shards]
        self.shard_of = np.repeat(np.arange(len(counts)), counts)
        starts = np.cumsum([0, *counts])
        self.shards = [
            Shard(folder / e.name, e.name, int(start), e.samples, e.keys, e.bytes, e.sha256)
            for e, start in zip(manifest.shards, starts, strict=False)
        ]
        self._verified: dict[str, tuple[int, ...]] = {}  # shard name -> identity of the file whose hash was right

    @classmethod
    def open(cls, folder: Path | str) -> ShardSet:
        """Raises WrongVersion, or BadData that names the file: manifest malformed, shard missing, extra or cut."""
        folder = Path(folder)
        shards = cls(folder, manifests.read(folder))
        for shard in shards.shards:
            try:
                found = shard.path.stat()
            except OSError as error:
                raise BadData(f"{shard.path}: {error.strerror}, but the manifest lists it; run `prepare`") from None
            if not stat.S_ISREG(found.st_mode):
                raise BadData(f"{shard.path}: not a regular file; run `prepare` again")
            if found.st_size != shard.bytes:
                raise BadData(
                    f"{shard.path}: {found.st_size:,} bytes, the manifest says {shard.bytes:,}; run `prepare` again"
                )
        listed = {shard.name for shard in shards.shards}
        if extra := sorted(path.name for path in folder.iterdir() if ".tar" in path.name and path.name not in listed):
            raise BadData(f"{folder / extra[0]}: not in the manifest; remove it, or run `prepare` again")
        return shards

    def __len__(self) -> int:
        return len(self.keys)

    def images(self, rows: torch.Tensor | np.ndarray | Sequence[int]) -> torch.Tensor:
        """uint8 (len(rows), channels, size, size), the rows in the order they were asked for, repeats allowed.

        The first use of a shard in this process checks its sha256. Raises BadData that names the shard and the key,
        and IndexError on a row outside the split.
        """
        index = np.asarray(rows, dtype=np.int64).reshape(-1)
        data = self.encoded(index)
        size, channels = self.manifest.size, self.manifest.channels
        try:
            return torch.from_numpy(decode_all(data, size, channels))
        except BadData:
            self._blame(index, data)
            raise

    def decoded(self, limit_bytes: int) -> Images:
        """Every image of the split in one tensor where that takes at most `limit_bytes`, else decoded on demand."""
        shape = (len(self), self.manifest.channels, self.manifest.size, self.manifest.size)
        if np.prod(shape, dtype=np.int64) > limit_bytes:
            return OnDemand(self)
        pixels = torch.empty(shape, dtype=torch.uint8)
        for first in range(0, len(self), CHUNK):
            last = min(first + CHUNK, len(self))
            pixels[first:last] = self.images(np.arange(first, last))
        return Images(pixels)

    def encoded(self, rows: torch.Tensor | np.ndarray | Sequence[int]) -> list[bytes]:
        """The images of the rows as they lie in the shards, PNG or JPEG; checks and raises as `images` does.

        Each shard is opened once, so 100,000 shards need no more than one handle.
        """
        index = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"rows {index.min()} to {index.max()} of a split of {len(self)}")
        data = [b""] * len(index)
        for number in np.unique(self.shard_of[index]).tolist():
            shard = self.shards[number]
            try:
                handle = os.open(shard.path, os.O_RDONLY)
            except OSError as error:
                raise BadData(f"{shard.path}: {error.strerror}; run `prepare` again") from None
            try:
                self._verify(shard, handle)
                for place in np.flatnonzero(self.shard_of[index] == number).tolist():
                    offset, size = self.members[index[place]].tolist()
                    data[place] = os.pread(handle, size, offset)
            finally:
                os.close(handle)
        return data

    def _verify(self, shard: Shard, handle: int) -> None:
        """Once per file and process; a file that was changed or replaced since is another file."""
        found = os.fstat(handle)
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if self._verified.get(shard.name) == identity:
            return
        with os.fdopen(os.dup(handle), "rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != shard.sha256:
            raise BadData(
                f"{shard.path}: damaged: sha256 {actual[:12]}..., the manifest says {shard.sha256[:12]}...; "
                "run `prepare` again or `dvc checkout --force`"
            )
        self._verified[shard.name] = identity

    def _blame(self, index: np.ndarray, data: list[bytes]) -> None:
        """Say which of the images cannot be decoded: only after it has happened, so the fast path carries no names."""
        for row, encoded in zip(index.tolist(), data, strict=True):
            try:
                decode(encoded, self.manifest.size, self.manifest.channels)
            except BadData as error:
                raise BadData(f"{self.shards[self.shard_of[row]].path}: {self.keys[row]}: {error}") from None

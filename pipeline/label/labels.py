"""All sidecars of a round as one table, whose rows are the rows of the split: the mean of what its teachers said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import files
from pipeline.data.manifest import keys_sha256
from pipeline.data.shards import ShardSet
from pipeline.errors import BadData
from pipeline.label.ensemble import ensemble
from pipeline.label.sidecar import Sidecar, read_sidecar, sidecar_path

BLOCK = 1024  # rows made dense at a time
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Opinion:
    """What one teacher said: a sidecar for each shard of a split, and the summary beside them."""

    summary: dict[str, Any]
    sidecars: list[Sidecar]

    @classmethod
    def open(cls, folder: Path | str, shards: ShardSet) -> Opinion:
        """Raises BadData, with the file and both hashes, unless each shard has its own sidecar, all by one teacher,
        for these images, keys and classes, with the bytes that summary.json lists. No row is ever skipped."""
        folder = Path(folder)
        sidecars, summary = _matching(folder, shards), read_summary(folder)
        listed = {entry["sidecar"]: entry["sidecar_sha256"] for entry in summary["shards"]}
        for sidecar in sidecars:
            _same(sidecar.path, "sha256", files.sha256(sidecar.path), listed.get(sidecar.path.name), SUMMARY)
        return cls(summary, sidecars)

    def is_of(self, sha256: str) -> None:
        """Raises BadData unless the weights of that hash said this: not where the teacher has been trained again."""
        first, teacher = self.sidecars[0], self.summary["teacher"]
        _same(first.path, "teacher", first.about["teacher"], sha256, f"models/{teacher}/model.json")


class Labels:
    """What one or several teachers said about every image of a split; several count the same."""

    def __init__(self, shards: ShardSet, opinions: Sequence[Opinion]):
        self.shards, self.opinions = shards, opinions

    @classmethod
    def open(cls, folder: Path | str, shards: ShardSet, teachers: Sequence[str]) -> Labels:
        """The labels of a round: folder/<teacher>/ of each. Raises BadData as `Opinion.open` does."""
        return cls(shards, [Opinion.open(Path(folder) / teacher, shards) for teacher in teachers])

    @property
    def teachers(self) -> list[str]:
        return [opinion.summary["teacher"] for opinion in self.opinions]

    def __len__(self) -> int:
        return len(self.shards)

    def logits(self, rows: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """fp32 (len(rows), K), the rows in the order they were asked for. Raises IndexError outside the split."""
        index = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"rows {index.min()} to {index.max()} of {len(self)} labels")
        out = torch.empty(len(index), len(self.shards.manifest.classes))
        owner = self.shards.shard_of[index]
        for number in np.unique(owner).tolist():
            here = np.flatnonzero(owner == number)
            local = index[here] - self.shards.shards[number].start
            out[torch.from_numpy(here)] = self._said(number, torch.from_numpy(local))
        return out

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, as (rows, logits) of at most 1,024 at a time, so that memory stays flat."""
        for number, rows, local in self._spans():
            yield rows, self._said(number, local)

    def confidence(self) -> Tensor:
        """The largest probability of each row, fp32 (N,)."""
        return self._surest[0]

    def guess(self) -> Tensor:
        """The class of that probability, int64 (N,); the lower one of equals."""
        return self._surest[1]

    def _spans(self) -> Iterator[tuple[int, slice, slice]]:
        """(number of the shard, rows of the split, the same rows of the shard)"""
        for number, shard in enumerate(self.shards.shards):
            for first in range(0, shard.samples, BLOCK):
                last = min(first + BLOCK, shard.samples)
                yield number, slice(shard.start + first, shard.start + last), slice(first, last)

    def _said(self, shard: int, rows: Tensor | slice) -> Tensor:
        return ensemble([opinion.sidecars[shard].logits(rows) for opinion in self.opinions])

    @cached_property
    def _surest(self) -> tuple[Tensor, Tensor]:
        confidence, guess = torch.empty(len(self)), torch.empty(len(self), dtype=torch.int64)
        for number, rows, local in self._spans():
            if len(self.opinions) == 1:
                confidence[rows], guess[rows] = self.opinions[0].sidecars[number].surest(local)
            else:
                logits = self._said(number, local)
                confidence[rows], guess[rows] = logits.softmax(1).amax(1), logits.argmax(1)
        return confidence, guess


def write_summary(folder: Path | str, shards: ShardSet, teacher: str, about: dict[str, Any]) -> dict[str, Any]:
    """Check the finished sidecars, then write and return summary.json: the teacher, what its model.json (`about`) says
    of its size and its validation accuracy, and each file's hash.

    By one process, once all ranks are done. Raises BadData as `Opinion.open` does.
    """
    folder = Path(folder)
    sidecars = _matching(folder, shards)
    first = sidecars[0].about
    summary = {
        "version": 1,
        "teacher": teacher,
        "teacher_sha256": first["teacher"],
        "teacher_parameters": about["parameters"],
        "teacher_validation": about.get("validation"),
        "transform": first["transform"],
        "classes": shards.manifest.classes,
        "classes_sha256": shards.manifest.classes_sha256,
        "rows": len(shards),
        "shards": [
            {
                "name": shard.name,
                "sha256": shard.sha256,
                "rows": shard.samples,
                "sidecar": sidecar.path.name,
                "sidecar_sha256": files.sha256(sidecar.path),
            }
            for shard, sidecar in zip(shards.shards, sidecars, strict=True)
        ],
    }
    files.write_json(folder / SUMMARY, summary)
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """Raises BadData where summary.json is missing, or is none."""
    summary = files.read_json(folder / SUMMARY)
    try:
        named = summary["teacher"] and all(entry["sidecar"] and entry["sidecar_sha256"] for entry in summary["shards"])
    except (KeyError, TypeError):
        named = False
    if not named:
        raise BadData(f"{folder / SUMMARY}: not a summary of labels; run `label` again")
    return summary


def _matching(folder: Path, shards: ShardSet) -> list[Sidecar]:
    """The sidecar of each shard, in order, all by one teacher."""
    paths = [sidecar_path(folder, shard) for shard in shards.shards]
    if extra := sorted(set(folder.glob("*.safetensors")) - set(paths)):
        raise BadData(f"{extra[0]}: there is no such shard in {shards.folder}; remove it, or run `label` again")
    sidecars = [read_sidecar(path) for path in paths]
    for shard, sidecar in zip(shards.shards, sidecars, strict=True):
        manifest, about = shards.folder / "manifest.json", sidecar.about
        first = sidecars[0]
        _same(sidecar.path, "shard", about["shard"], shard.name, manifest)
        _same(sidecar.path, "shard_sha256", about["shard_sha256"], shard.sha256, manifest)
        _same(sidecar.path, "keys_sha256", about["keys_sha256"], keys_sha256(shard.keys), manifest)
        _same(sidecar.path, "classes_sha256", about["classes_sha256"], shards.manifest.classes_sha256, manifest)
        _same(sidecar.path, "rows", about["rows"], shard.samples, manifest)
        _same(sidecar.path, "teacher", about["teacher"], first.about["teacher"], first.path.name)
        _same(sidecar.path, "transform", about["transform"], first.about["transform"], first.path.name)
    return sidecars


def _same(path: Path, what: str, found: Any, expected: Any, where: Path | str) -> None:
    if found != expected:
        raise BadData(f"{path}: {what} {found}, but {where} says {expected}; run `label` again")

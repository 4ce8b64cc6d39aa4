"""A sidecar: what a teacher said about the images of one shard, one row for each, in the shard's order.

Each row is stored minus its largest logit, so the surest class stands at 0: softmax does not feel it, and no logit
can leave the range of fp16. Up to 256 classes all logits are kept; above that the `top` largest of each row, and the
logsumexp over all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import files
from pipeline.data.manifest import keys_sha256
from pipeline.data.shards import Shard, ShardSet
from pipeline.errors import BadData, WrongVersion

VERSION = 1
DENSE = 256  # classes up to which every logit is kept
LOWEST = -65504.0  # of fp16; exp() of it is 0 in any arithmetic
ABOUT = {"version", "teacher", "shard", "shard_sha256", "keys_sha256", "classes_sha256", "transform"}
ABOUT |= {"rows", "classes", "top"}


def sidecar_path(folder: Path, shard: Shard) -> Path:
    return folder / f"{Path(shard.name).stem}.safetensors"


def kept(classes: int, top: int) -> int:
    """Logits stored of each row."""
    return classes if classes <= DENSE else min(top, classes)


def describe(shard: Shard, shards: ShardSet, teacher: str, transform: str, top: int) -> dict[str, Any]:
    """The `about` of a shard's"""
    classes = len(shards.manifest.classes)
    return {
        "version": VERSION,
        "teacher": teacher,
        "shard": shard.name,
        "shard_sha256": shard.sha256,
        "keys_sha256": keys_sha256(shard.keys),
        "classes_sha256": shards.manifest.classes_sha256,
        "transform": transform,
        "rows": shard.samples,
        "classes": classes,
        "top": kept(classes, top),
    }


@dataclass(frozen=True)
class Sidecar:
    """`tensors`: logits fp16 (n, K); or indices int32, logits fp16 (n, top), largest first, and logsumexp fp32 (n,).

    They stay on the disk until a row is asked for: the file is mapped, not read.
    """

    path: Path
    about: dict[str, Any]
    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return self.about["rows"]

    def logits(self, rows: Tensor | Sequence[int] | slice) -> Tensor:
        """Dense fp32 (B, K), largest 0. What is left of the probability is spread evenly over the classes not kept."""
        index = _index(rows)
        logits, classes = self.tensors["logits"][index].float(), self.about["classes"]
        if self.about["top"] == classes:
            return logits
        each = self._others(index, logits)[:, None]
        return each.repeat(1, classes).scatter_(1, self.tensors["indices"][index].long(), logits)

    def surest(self, rows: Tensor | Sequence[int] | slice) -> tuple[Tensor, Tensor]:
        """The largest probability of each row, fp32 (B,), and its class, int64 (B,), the lower one of equals.

        Those of `logits`, but no row is made dense: the largest logit is 0, so its probability is 1 / sum exp(logits).
        """
        index = _index(rows)
        logits, classes, top = self.tensors["logits"][index].float(), self.about["classes"], self.about["top"]
        if top == classes:
            return logits.softmax(1).amax(1), logits.argmax(1)
        each = self._others(index, logits)
        total = logits.double().exp().sum(1) + (classes - top) * each.double().exp()
        lowest = torch.where(logits == 0, self.tensors["indices"][index].long(), classes).amin(1)
        return total.reciprocal().float(), torch.where(each == 0, 0, lowest)  # where the others reach 0, all are equal

    def _others(self, index: Tensor | slice, logits: Tensor) -> Tensor:
        """The logit of every class that was not kept, fp32 (B,)."""
        rest = self.tensors["logsumexp"][index].double().exp() - logits.double().exp().sum(1)
        each = (rest.clamp(min=1e-30) / (self.about["classes"] - self.about["top"])).log().float()
        return torch.minimum(each, logits[:, -1])  # no class that was left out can beat one that was kept


def _index(rows: Tensor | Sequence[int] | slice) -> Tensor | slice:
    return rows if isinstance(rows, slice) else torch.as_tensor(rows, dtype=torch.int64)


def write_sidecar(path: Path | str, logits: Tensor, about: dict[str, Any]) -> None:
    """Logits (n, K) of any float type, not yet centred; `about` has the keys of ABOUT. Always the same bytes.

    logsumexp is that of the kept logits as they are stored and of the others as they were, so that the probability
    left for the others is right to fp32 whatever fp16 did to the kept.
    """
    logits = logits.detach().cpu().float()
    centred = (logits - logits.amax(1, keepdim=True)).clamp(min=LOWEST)
    if about["top"] == about["classes"]:
        return files.write_safetensors(path, {"logits": centred.half()}, about)
    ordered, indices = centred.sort(dim=1, descending=True, stable=True)  # topk leaves the order of equals open
    stored = ordered[:, : about["top"]].half()
    every = torch.cat([stored.double(), ordered[:, about["top"] :].double()], 1)
    tensors = {"indices": indices[:, : about["top"]].int(), "logits": stored, "logsumexp": every.logsumexp(1).float()}
    return files.write_safetensors(path, tensors, about)


def read_sidecar(path: Path | str) -> Sidecar:
    """Raises WrongVersion, or BadData where the file is missing, malformed, or not what its own `about` says."""
    tensors, about = files.read_safetensors(path)
    version = about.get("version") if isinstance(about, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise WrongVersion(f"{path}: version {version}; this ssl-pipe reads version {VERSION}; run `label` again")
    if version is None or about.keys() != ABOUT:
        raise BadData(f"{path}: not a sidecar; remove it and run `label` again")
    rows, classes, top = about["rows"], about["classes"], about["top"]
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {"logits": (torch.float16, (rows, top))}
    if top != classes:
        expected |= {"indices": (torch.int32, (rows, top)), "logsumexp": (torch.float32, (rows,))}
    found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    if found != expected:
        raise BadData(f"{path}: holds {found} instead of {expected}; remove it and run `label` again")
    if top != classes and rows and not 0 <= tensors["indices"].min() <= tensors["indices"].max() < classes:
        raise BadData(f"{path}: names a class beyond {classes - 1}; remove it and run `label` again")
    return Sidecar(Path(path), about, tensors)

"""From a teacher to sidecars: one pass over the shards, one file for each, in memory that does not grow with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import files
from pipeline.data.shards import Shard, ShardSet
from pipeline.device import autocast
from pipeline.errors import BadData, Diverged, WrongVersion
from pipeline.label import sidecar
from pipeline.label.look import Look

AHEAD = 2  # batches that are read and decoded while the teacher looks at another


@torch.inference_mode()
def predict(
    network: nn.Module,
    shards: ShardSet,
    out: Path,
    about: dict[str, Any],
    look: Look,
    *,
    batch: int,
    device: torch.device | str,
    precision: str,
    top: int = 16,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int, str], object] | None = None,
) -> list[Path]:
    """Write the sidecars of shards[rank::world] into `out` and return their paths, in the order of the shards.

    `about` is the teacher: {"teacher": sha256 of its weights, "classes_sha256": of the classes it knows}; the rest of
    a sidecar's `about` is added here. The teacher, already on `device`, sees the images as `look` says. A finished
    sidecar with the very same `about` is left alone, and batches never cross shards: so the bytes do not depend on
    rank, world, or on having been killed. `progress(done, "")` counts the images of this rank.

    Raises BadData where the shards are damaged or the teacher knows other classes; Diverged on a logit not finite.
    """
    if about["classes_sha256"] != shards.manifest.classes_sha256:
        expected, where = shards.manifest.classes_sha256, shards.folder / "manifest.json"
        raise BadData(
            f"{where}: classes_sha256 {expected}, but the teacher's is {about['classes_sha256']}; train it again"
        )
    out.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        _remove_strangers(out, shards)
    how = f"{look}; {precision}, {batch} at a time"
    paths, todo, done = [], [], 0
    for shard in shards.shards[rank::world]:
        paths.append(sidecar.sidecar_path(out, shard))
        files.sweep(out, paths[-1].name)
        page = sidecar.describe(shard, shards, about["teacher"], how, top)
        if _finished(paths[-1], page):
            done += shard.samples
        else:
            todo.append((shard, paths[-1], page))

    device = torch.device(device)
    decoded = _decoded(shards, (span for shard, _, _ in todo for span in _spans(shard, batch)))
    with look.using(network):
        for shard, path, page in todo:
            parts = []
            for number, images in enumerate(islice(decoded, len(_spans(shard, batch)))):
                with autocast(device, precision):
                    parts.append(look(network, images.to(device), shard.name, number))
                done += len(images)
                if progress:
                    progress(done, "")
            logits = torch.cat(parts).cpu()  # the one wait for the device, so that a GPU never idles between batches
            _check(logits, shard, page["classes"])
            sidecar.write_sidecar(path, logits, page)
    return paths


def _spans(shard: Shard, batch: int) -> list[range]:
    end = shard.start + shard.samples
    return [range(first, min(first + batch, end)) for first in range(shard.start, end, batch)]


def _decoded(shards: ShardSet, spans: Iterable[range]) -> Iterator[Tensor]:
    """The uint8 images of each span, in order, decoded by a thread of its own up to AHEAD spans before they are due."""
    waiting: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(1, "decode") as reader:
        for span in spans:
            waiting.append(reader.submit(shards.images, span))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _finished(path: Path, page: dict[str, Any]) -> bool:
    try:
        return sidecar.read_sidecar(path).about == page
    except (BadData, WrongVersion):  # missing, cut, or of another version: all are made anew
        return False


def _remove_strangers(out: Path, shards: ShardSet) -> None:
    """Sidecars of shards that are no more: left by a run over other data, and an error to whoever reads the labels."""
    known = {sidecar.sidecar_path(out, shard) for shard in shards.shards}
    for path in out.glob("*.safetensors"):
        if path not in known:
            path.unlink()


def _check(logits: Tensor, shard: Shard, classes: int) -> None:
    if logits.shape[1] != classes:
        raise BadData(f"{shard.path}: {classes} classes, but the teacher has {logits.shape[1]} logits; train it again")
    broken = (~logits.isfinite()).any(1).nonzero().flatten().tolist()
    if broken:
        raise Diverged(f"{shard.path}: {shard.keys[broken[0]]}: the teacher's logits are not finite; train it again")

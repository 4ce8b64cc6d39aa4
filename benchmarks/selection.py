"""What does it cost to choose? A million pseudo-labels of 1,000 classes, top 16 kept, on this machine.

python benchmarks/selection.py

The sidecars, 1,000 of 1,000 rows, are made by another process, always the same, and without a teacher or an image. Then
this one does what `distill` does before it trains:

images      open the unlabelled shards: read and check the manifest
labels      open the sidecars: check each against its shard, and its sha256
surest      the confidence and the class of each row
select      threshold 0.3 and a quota that most classes meet by a coin for each image: what selection can cost at most

In brackets the processor's seconds: on a busy machine the others are longer.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipeline import files, params, seed
from pipeline.data.manifest import VERSION, classes_sha256, keys_sha256, seal
from pipeline.data.shards import ShardSet
from pipeline.device import machine
from pipeline.label.labels import Labels, write_summary
from pipeline.label.select import select
from pipeline.label.sidecar import describe, sidecar_path

SHARDS, ROWS, CLASSES, TOP = 1000, 1000, 1000, 16


def make(root: Path) -> None:
    """A split whose tars are holes of the right size, and what a teacher said of it."""
    classes, entries = [f"class{number:03d}" for number in range(CLASSES)], []
    for number in range(SHARDS):
        keys = [f"{number:06d}/{row:06d}" for row in range(ROWS)]
        entry = {"name": f"unlabelled-{number:06d}.tar", "bytes": 2048 * ROWS, "sha256": "0" * 64, "samples": ROWS}
        entry |= {"keys": keys, "labels": [-1] * ROWS, "members": [[2048 * row + 512, 1024] for row in range(ROWS)]}
        entries.append(entry)
        with open(root / entry["name"], "wb") as file:
            file.truncate(entry["bytes"])
    page = {"version": VERSION, "split": "unlabelled", "samples": SHARDS * ROWS, "shards": entries, "classes": classes}
    page |= {"classes_sha256": classes_sha256(classes), "size": 32, "channels": 3, "mean": [0.5] * 3, "std": [0.2] * 3}
    page |= {"keys_sha256": keys_sha256([key for entry in entries for key in entry["keys"]])}
    files.write_json(root / "manifest.json", seal(page))
    shards = ShardSet.open(root)
    folder = root / "labels" / "finetune"
    folder.mkdir(parents=True)
    for shard in shards.shards:
        draw = seed.generator(0, "selection", shard.name)
        tensors = said(draw)
        files.write_safetensors(sidecar_path(folder, shard), tensors, describe(shard, shards, "0" * 64, "", TOP))
    write_summary(folder, shards, "finetune", {"parameters": 1, "validation": 0.5})


def said(draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Rows of all degrees of confidence, of classes some of which are ten times as frequent as others."""
    first = (CLASSES * torch.rand(ROWS, 1, generator=draw) ** 1.5).int()
    steps = 4 * torch.rand(ROWS, TOP, generator=draw) * torch.rand(ROWS, 1, generator=draw)
    logits = -(steps.cumsum(1) - steps[:, :1]).half()
    total = logits.double().exp().sum(1) + torch.rand(ROWS, generator=draw)
    return {
        "indices": (first + 7 * torch.arange(TOP).int()) % CLASSES,
        "logits": logits,
        "logsumexp": total.log().float(),
    }


def main() -> None:
    if "--make" in sys.argv:
        make(Path(sys.argv[-1]))
        return
    print(machine(torch.device("cpu")), f"{SHARDS * ROWS:,} rows, {CLASSES} classes, top {TOP}", sep="\n")
    seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started, busy = time.perf_counter(), time.process_time()
        yield
        seconds[name] = time.perf_counter() - started, time.process_time() - busy
        print("{:8} {:6.1f} s ({:.1f})".format(name, *seconds[name]), flush=True)

    with tempfile.TemporaryDirectory() as root:
        subprocess.run([sys.executable, __file__, "--make", root], check=True)
        with timed("images"):
            shards = ShardSet.open(root)
        with timed("labels"):
            labels = Labels.open(Path(root) / "labels", shards, ["finetune"])
        with timed("surest"):
            confidence, guess = labels.confidence(), labels.guess()
        with timed("select"):
            rules = params.Select(threshold=0.3, quota=500)
            selection = select(confidence, guess, shards.keys, rules, 0, CLASSES)
    counts = f"{len(selection.rows):,} images, {int(selection.weights.sum()):,} counting each as often as it is seen"
    print(f"selected {counts}")
    wall, busy = (
        sum(column) for column in zip(*(seconds[name] for name in ("labels", "surest", "select")), strict=True)
    )
    print(f"labels + surest + select {wall:.1f} s ({busy:.1f})   claim: at most 30")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB   claim: at most 2")


if __name__ == "__main__":
    main()

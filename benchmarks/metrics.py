"""What do a million predictions over a thousand classes cost? All that `evaluate` says of a classifier, in blocks.

python benchmarks/metrics.py [images] [classes]

blocks      drawing the logits, which stands for the network: nothing of it is kept
metrics     all else: NLL, Brier, calibration, risk against coverage, bootstrap, tables
memory      the peak of this process, logits of one block and Python's tables included
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from pipeline.device import choose, machine
from pipeline.score.accuracy import BLOCK
from pipeline.score.classifier import score_classifier
from pipeline.seed import generator

LIMIT = 4.0
"""GiB: the claim"""


class Drawn:
    """Logits (m, K) whose label is right in about two of three cases, block by block, and the seconds they took."""

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.labels, self.classes, self.seconds = labels, classes, 0.0

    def __iter__(self) -> Iterator[Tensor]:
        for place, label in enumerate(self.labels.split(BLOCK)):
            started = time.perf_counter()
            logits = torch.randn(len(label), self.classes, generator=generator(0, "block", place))
            logits[torch.arange(len(label)), label] += 4.2
            self.seconds += time.perf_counter() - started
            yield 3 * logits


def peak() -> float:
    """GiB of this process, now at the latest."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**20


def main() -> None:
    images, classes = [int(word) for word in sys.argv[1:]] or (1_000_000, 1000)
    labels = torch.randint(classes, (images,), generator=generator(0, "labels"))
    before, blocks, started = peak(), Drawn(labels, classes), time.perf_counter()
    metrics, _ = score_classifier(blocks, labels, [f"class {c}" for c in range(classes)], temperature=1.2)
    seconds = time.perf_counter() - started
    print(machine(choose("cpu")), f"{torch.get_num_threads()} threads, {images:,} images, {classes:,} classes")
    print(f"blocks   {blocks.seconds:8.1f} s")
    print(f"metrics  {seconds - blocks.seconds:8.1f} s   {1e6 * (seconds - blocks.seconds) / images:.1f} us an image")
    whole = images * classes * 4 / 2**30
    print(
        f"memory   {before:8.2f} GiB before, {peak():.2f} GiB at most (claim: {LIMIT}); all logits in fp32: {whole:.2f}"
    )
    print(", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if value is not None))


if __name__ == "__main__":
    main()

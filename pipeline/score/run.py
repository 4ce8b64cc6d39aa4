"""One `evaluate` stage, from a model and the test shards on disk to its published scores."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import files
from pipeline.data.images import Images
from pipeline.data.shards import ShardSet
from pipeline.device import choose, machine
from pipeline.errors import ParamsError
from pipeline.nets.model import load_model, parameters
from pipeline.params import Params
from pipeline.score import retrieval
from pipeline.score.calibration import fit_temperature
from pipeline.score.classifier import score_classifier
from pipeline.score.embedding import drawn, embedding
from pipeline.score.features import embed, passes
from pipeline.score.layers import Trunk, readable, score_layers
from pipeline.score.probe import score_probe
from pipeline.score.sheet import sheet
from pipeline.seed import generator
from pipeline.views.plain import Plain

FITTED = 10_000  # validation images that a temperature is fitted on at most: their logits are held at once


def run(name: str, params: Params, root: Path) -> None:
    """Publish scores/<name>/ and times/evaluate-<name>.json under `root`: a classifier as it is, an encoder by probes.

    Raises BadData where there is no such model, or where it is for other images than the test images.
    """
    device, model = choose(params.runtime.device), load_model(root / "models" / name)
    test = ShardSet.open(root / "shards" / "test")
    model.fits(test.manifest)
    branch = model.branch.to(device).to(memory_format=torch.channels_last)
    classifies = model.about["kind"] == "classifier"
    network = branch if classifies else branch.encoder
    transform = Plain.of(model.about)

    def pixels(shards: ShardSet) -> Images:
        return shards.decoded(int(params.runtime.memory * 2**30)).to(device)

    def see(network: nn.Module, images: Images | _Part) -> Tensor:
        return embed(network, images, transform, params.label.batch, device)

    started = time.monotonic()
    images = pixels(test)
    seconds = time.monotonic() - started
    labels, classes, tables, picture = torch.from_numpy(test.labels), test.manifest.classes, dict[str, list](), b""
    mapped = drawn(len(test), params.seed)
    if classifies:
        kept = ShardSet.open(root / "shards" / "val")
        model.fits(kept.manifest)
        temperature = _temperature(lambda some: see(network, some), pixels(kept), kept.labels, params.seed)
        blocks = _Timed(block.cpu() for block in passes(network, images, transform, params.label.batch, device))
        metrics, tables = score_classifier(blocks, labels, classes, temperature, params.seed)
        seconds += blocks.seconds
        features = see(branch.encoder, _Part(images, mapped))
    else:
        started = time.monotonic()
        seen = see(network, images)
        seconds += time.monotonic() - started
        known = ShardSet.open(root / "shards" / "labelled")
        truth, shown = torch.from_numpy(known.labels), pixels(known)
        metrics = score_probe(see(network, shown), truth, seen, labels, len(classes), seed=params.seed)
        metrics |= retrieval.score_retrieval(seen, labels)
        features = seen[mapped]
        tables["layers"] = []
        with contextlib.suppress(ParamsError):  # a network of timm that does not show its maps has no such rows
            trunk = Trunk(branch.encoder)
            rows = readable(len(known), params.seed)
            some = Images(torch.as_tensor(shown.at(rows)))
            layers = see(trunk, some), truth[rows], see(trunk, images), labels
            tables["layers"] = score_layers(trunk, *layers, len(classes), params.seed)
        tables["neighbours"], picture = _neighbours(test, seen, params.seed)
    tables["embedding"] = embedding(features, labels[mapped], classes, params.seed)
    with files.publish(root / "scores" / name) as folder:
        files.write_json(folder / "metrics.json", {"parameters": parameters(network), **metrics})
        for table, entries in tables.items():
            files.write_csv(folder / f"{table}.csv", entries)
        if picture:
            files.write_bytes(folder / "neighbours.png", picture)
    times = {"stage": f"evaluate-{name}", "seconds": seconds, "images": len(test), "machine": machine(device)}
    files.write_json(root / "times" / f"evaluate-{name}.json", times | {"images_per_second": len(test) / seconds})


class _Timed:
    """Blocks as they come, and the seconds that they took to make; what is done with them in between does not count."""

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self.blocks, self.seconds = iter(blocks), 0.0

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        started = time.monotonic()
        try:
            return next(self.blocks)
        finally:
            self.seconds += time.monotonic() - started


class _Part:
    """Some rows of a split's images."""

    def __init__(self, images: Images, rows: Tensor) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: Sequence[int]) -> Tensor:
        return self.images.at(self.rows[places])


def _temperature(see: Callable[[_Part], Tensor], images: Images, labels: np.ndarray, seed: int) -> float | None:
    """Fitted on the validation images, at most 10,000 of them by lot: never on those that it is measured on."""
    if len(images) < 2:
        return None
    rows = torch.randperm(len(images), generator=generator(seed, "temperature"))[:FITTED].sort().values
    logits = see(_Part(images, rows))
    return fit_temperature(logits, torch.from_numpy(labels)[rows]) if logits.shape[1] > 1 else None


def _neighbours(test: ShardSet, features: Tensor, seed: int) -> tuple[list[dict[str, Any]], bytes]:
    """A few test images with the nearest others, as a table and as a picture that frames those of another class."""
    labels, classes = torch.from_numpy(test.labels), test.manifest.classes
    rows = retrieval.queries(labels, seed)
    cosines, near = retrieval.nearest(features, rows, retrieval.SHOWN)
    both = torch.cat([rows[:, None], near], 1)
    picture = sheet(test.images(both.flatten()).unflatten(0, both.shape), labels[both] != labels[rows, None])
    return retrieval.table(test.keys, test.labels.tolist(), classes, rows, cosines, near), picture

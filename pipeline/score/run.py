"""One `evaluate` stage, from a model and the test shards on disk to its published scores."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

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
from pipeline.score.classifier import score_classifier
from pipeline.score.features import embed
from pipeline.score.layers import Trunk, readable, score_layers
from pipeline.score.probe import score_probe
from pipeline.score.sheet import sheet
from pipeline.views.plain import Plain


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

    def see(network: nn.Module, images: Images) -> Tensor:
        return embed(network, images, transform, params.label.batch, device)

    started = time.monotonic()
    images = pixels(test)
    seen, labels = see(network, images), torch.from_numpy(test.labels)
    seconds = time.monotonic() - started
    classes, tables, picture = test.manifest.classes, dict[str, list](), b""
    if classifies:
        metrics, tables = score_classifier(seen, labels, classes)
    else:
        known = ShardSet.open(root / "shards" / "labelled")
        truth, shown = torch.from_numpy(known.labels), pixels(known)
        metrics = score_probe(see(network, shown), truth, seen, labels, len(classes), seed=params.seed)
        metrics |= retrieval.score_retrieval(seen, labels)
        tables["layers"] = []
        with contextlib.suppress(ParamsError):  # a network of timm that does not show its maps has no such rows
            trunk = Trunk(branch.encoder)
            rows = readable(len(known), params.seed)
            some = Images(torch.as_tensor(shown.at(rows)))
            layers = see(trunk, some), truth[rows], see(trunk, images), labels
            tables["layers"] = score_layers(trunk, *layers, len(classes), params.seed)
        tables["neighbours"], picture = _neighbours(test, seen, params.seed)
    with files.publish(root / "scores" / name) as folder:
        files.write_json(folder / "metrics.json", {"parameters": parameters(network), **metrics})
        for table, entries in tables.items():
            files.write_csv(folder / f"{table}.csv", entries)
        if picture:
            files.write_bytes(folder / "neighbours.png", picture)
    times = {"stage": f"evaluate-{name}", "seconds": seconds, "images": len(test), "machine": machine(device)}
    files.write_json(root / "times" / f"evaluate-{name}.json", times | {"images_per_second": len(test) / seconds})


def _neighbours(test: ShardSet, features: Tensor, seed: int) -> tuple[list[dict[str, Any]], bytes]:
    """A few test images with the nearest others, as a table and as a picture that frames those of another class."""
    labels, classes = torch.from_numpy(test.labels), test.manifest.classes
    rows = retrieval.queries(labels, seed)
    cosines, near = retrieval.nearest(features, rows, retrieval.SHOWN)
    both = torch.cat([rows[:, None], near], 1)
    picture = sheet(test.images(both.flatten()).unflatten(0, both.shape), labels[both] != labels[rows, None])
    return retrieval.table(test.keys, test.labels.tolist(), classes, rows, cosines, near), picture

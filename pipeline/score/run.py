"""One `evaluate` stage, from a model and the test shards on disk to its published scores."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.device import choose, machine
from pipeline.nets.model import load_model, parameters
from pipeline.params import Params
from pipeline.score.classifier import score_classifier
from pipeline.score.features import embed
from pipeline.score.probe import score_probe
from pipeline.views.normalise import Normalise


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
    transform = Normalise(model.about["mean"], model.about["std"])

    def see(shards: ShardSet) -> Tensor:
        images = shards.decoded(int(params.runtime.memory * 2**30)).to(device)
        return embed(network, images, transform, params.label.batch, device)

    started = time.monotonic()
    seen, labels = see(test), torch.from_numpy(test.labels)
    seconds = time.monotonic() - started
    tables: dict[str, list] = {}
    if classifies:
        metrics, tables = score_classifier(seen, labels, test.manifest.classes)
    else:
        known = ShardSet.open(root / "shards" / "labelled")
        truth = torch.from_numpy(known.labels)
        metrics = score_probe(see(known), truth, seen, labels, len(test.manifest.classes), seed=params.seed)
    with files.publish(root / "scores" / name) as folder:
        files.write_json(folder / "metrics.json", {"parameters": parameters(network), **metrics})
        for table, rows in tables.items():
            files.write_csv(folder / f"{table}.csv", rows)
    times = {"stage": f"evaluate-{name}", "seconds": seconds, "images": len(test), "machine": machine(device)}
    files.write_json(root / "times" / f"evaluate-{name}.json", times | {"images_per_second": len(test) / seconds})

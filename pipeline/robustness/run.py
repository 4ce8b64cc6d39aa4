"""One `robustness` stage, from a classifier and the test shards on disk to what is left of its accuracy."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.device import choose, machine
from pipeline.errors import ParamsError
from pipeline.nets.model import Model, load_model
from pipeline.params import Params
from pipeline.robustness.draws import Draws
from pipeline.robustness.error import is_imagenet, summary
from pipeline.robustness.measure import Classifier, Sample, attack_errors, corruption_errors, flip_rates
from pipeline.robustness.sequences import mean_flip_rate
from pipeline.robustness.severities import PERTURBATIONS
from pipeline.seed import fraction
from pipeline.views.plain import Plain


def run(name: str, params: Params, root: Path) -> None:
    """Publish robustness/<name>/ and times/robustness-<name>.json under `root`.

    Raises ParamsError for a model that is no classifier, BadData where there is none, or where it is of other images.
    """
    ask, batch, device = params.robustness, params.label.batch, choose(params.runtime.device)
    model = classifier_of(name, root)
    test = ShardSet.open(root / "shards" / "test")
    model.fits(test.manifest)
    network = model.branch.to(device).to(memory_format=torch.channels_last)
    classifier = Classifier(network, Plain.of(model.about))
    sample = _sample(test, ask.limit, params, device)
    imagenet = is_imagenet(test.manifest.classes, test.manifest.size)

    started = time.monotonic()
    clean, errors = corruption_errors(classifier, sample, ask.corruptions, ask.severities, batch)
    metrics: dict[str, Any] = {"n": len(sample.labels), "clean_error": clean}
    if errors:
        metrics |= summary(errors, clean, imagenet)
    rates = flip_rates(classifier, sample, ask.perturbations, batch)
    if rates:
        metrics["mean_flips"] = fmean(rates.values())
        if imagenet and set(rates) == set(PERTURBATIONS):
            metrics["mfr"] = mean_flip_rate(rates)
    attacks = attack_errors(classifier, sample, ask.epsilons, ask.steps, batch)
    metrics |= {f"{how}_{row['epsilon']:g}": row[how] for row in attacks for how in ("fgsm", "pgd")}
    seconds = time.monotonic() - started

    with files.publish(root / "robustness" / name) as folder:
        files.write_json(folder / "metrics.json", metrics)
        rows = [{"corruption": c, "severity": s, "error": e} for c, of in errors.items() for s, e in of.items()]
        files.write_csv(folder / "corruptions.csv", rows)
        files.write_csv(folder / "perturbations.csv", [{"perturbation": p, "flips": f} for p, f in rates.items()])
        files.write_csv(folder / "attacks.csv", attacks)
    times = {"stage": f"robustness-{name}", "seconds": seconds, "images": len(sample.labels)}
    times |= {"machine": machine(device), "images_per_second": len(sample.labels) / seconds}
    files.write_json(root / "times" / f"robustness-{name}.json", times)


def classifier_of(name: str, root: Path) -> Model:
    """Raises ParamsError for a model that is no classifier."""
    model = load_model(root / "models" / name)
    if model.about["kind"] != "classifier":
        raise ParamsError(f"model {name!r} is no classifier; give baseline, finetune or a student")
    return model


def _sample(test: ShardSet, limit: int | None, params: Params, device: torch.device) -> Sample:
    """The images whose keys draw the lowest numbers, in the order of the shards: the same ones for every model."""
    order = sorted(range(len(test)), key=lambda row: fraction(params.seed, "robustness", test.keys[row]))
    rows = torch.tensor(sorted(order[:limit]))
    draws = Draws.of([test.keys[row] for row in rows], params.seed, device)
    images = test.decoded(int(params.runtime.memory * 2**30)).to(device)
    return Sample(images, rows, torch.from_numpy(test.labels)[rows].to(device), draws)

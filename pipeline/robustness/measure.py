"""How often a classifier is wrong when its images are changed: each batch is read once, and changed in every way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.nets.evaluating import evaluating
from pipeline.robustness.adversarial import fgsm, pgd
from pipeline.robustness.corruptions import corrupt
from pipeline.robustness.draws import Draws
from pipeline.robustness.sequences import flips, frames
from pipeline.robustness.severities import NOISES
from pipeline.score.features import Images
from pipeline.views.plain import Plain


@dataclass
class Classifier:
    """`network` with the normalisation that belongs to it: uint8, or [0, 1], (B, C, H, W) -> logits (B, K)."""

    network: nn.Module
    plain: Plain

    def __call__(self, images: Tensor) -> Tensor:
        return self.network(self.plain(images))


@dataclass
class Sample:
    """Some rows (n,) of images, their labels (n,) and a stream of numbers for each; labels and draws on one device."""

    images: Images
    rows: Tensor
    labels: Tensor
    draws: Draws

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Draws]]:
        for start in range(0, len(self.labels), size):
            part = slice(start, start + size)
            images = torch.as_tensor(self.images.at(self.rows[part].tolist())).to(self.labels.device)
            yield images, self.labels[part], self.draws[part]


@torch.no_grad()
def corruption_errors(
    classifier: Classifier, sample: Sample, names: Sequence[str], severities: Sequence[int], batch: int
) -> tuple[float, dict[str, dict[int, float]]]:
    """The share of wrong guesses on the images as they are, and for each corruption and severity."""
    conditions = [(name, severity) for name in names for severity in severities]
    wrong = torch.zeros(1 + len(conditions), dtype=torch.int64, device=sample.labels.device)
    with evaluating(classifier.network):
        for images, labels, draws in sample.batches(batch):
            wrong[0] += _wrong(classifier, images, labels)
            for place, (name, severity) in enumerate(conditions, 1):
                wrong[place] += _wrong(classifier, corrupt(images, name, severity, draws), labels)
    clean, *rest = (wrong.double() / len(sample.labels)).tolist()
    shares = dict(zip(conditions, rest, strict=True))
    return clean, {name: {severity: shares[name, severity] for severity in severities} for name in names}


@torch.no_grad()
def flip_rates(classifier: Classifier, sample: Sample, names: Sequence[str], batch: int) -> dict[str, float]:
    """The flip probability along each perturbation."""
    guesses: dict[str, list[Tensor]] = {name: [] for name in names}
    with evaluating(classifier.network):
        for images, _, draws in sample.batches(batch):
            for name in names:
                seen = [classifier(frame).argmax(1) for frame in frames(name, images, draws)]
                guesses[name].append(torch.stack(seen, 1))
    return {name: flips(torch.cat(found), name in NOISES) for name, found in guesses.items()}


def attack_errors(
    classifier: Classifier, sample: Sample, epsilons: Sequence[float], steps: int, batch: int
) -> list[dict[str, float]]:
    """A row {epsilon, fgsm, pgd} of shares of wrong guesses for each epsilon, in levels of 255."""
    wrong = torch.zeros(len(epsilons), 2, dtype=torch.int64, device=sample.labels.device)
    with evaluating(classifier.network):
        for images, labels, draws in sample.batches(batch):
            floats = images.float() / 255
            for place, levels in enumerate(epsilons):
                start = draws.purpose("pgd").uniform("start", *images.shape[1:], low=-1, high=1)
                attacked = (
                    fgsm(classifier, floats, labels, levels / 255),
                    pgd(classifier, floats, labels, levels / 255, steps, start),
                )
                with torch.no_grad():
                    wrong[place] += torch.stack([_wrong(classifier, made, labels) for made in attacked])
    shares = (wrong.double() / len(sample.labels)).tolist()
    return [{"epsilon": eps, "fgsm": fast, "pgd": strong} for eps, (fast, strong) in zip(epsilons, shares, strict=True)]


def _wrong(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    return (classifier(images).argmax(1) != labels).sum()

"""A run as the page tells it: who learned from whom, how well, in what time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data import manifest as manifests
from pipeline.errors import BadData
from pipeline.params import Params
from pipeline.report import read
from pipeline.score.accuracy import wilson
from pipeline.score.paired import discordant, half

METRICS = (
    *(
        "n",
        "top1",
        "top5",
        "mean_class_accuracy",
        "mean_class_accuracy_low",
        "mean_class_accuracy_high",
        "nll",
        "brier",
    ),
    *("ece", "adaptive_ece", "temperature", "nll_tempered", "ece_tempered", "aurc"),
)
PROBES = ("knn", "linear")
LAYERS = ("depth", "channels", "side", "features", "labels", "linear", "low", "high", "knn")
Pairs = list[tuple[str, str]]  # actual and predicted class of each test image, in the order of the shards
AUDIT = (
    *("n", "teachers", "classes", "truth", "top1", "ece", "nll", "thresholds", "coverage", "precision"),
    *("per_class", "class_curves", "reliability", "temperature", "selected", "churn", "out_of_class", "pictures"),
)


@dataclass(frozen=True)
class Model:
    """One evaluated classifier. `teacher` is the model it learned from, `start` where its encoder began."""

    name: str
    title: str
    role: str
    teacher: str | None
    start: str
    method: str
    metrics: dict[str, Any]
    per_class: list[read.Row]
    pairs: Pairs
    reliability: list[read.Row]
    risk: list[read.Row]
    parameters: int | None
    seconds: float | None
    speed: float | None
    skipped: str | None

    @property
    def sees_unlabelled(self) -> bool:
        """Whether unlabelled images had a part in it: by pseudo-labels, by pretraining, or by its method."""
        return self.role == "student" or self.start != "scratch" or self.method != "supervised"

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.metrics["top1"], self.metrics["n"])


@dataclass(frozen=True)
class Run:
    """`models`: baseline, finetune, then the students in order. `probes`: name -> metrics, `scratch` first.

    `layers`, `neighbours`: the rows of layers.csv and neighbours.csv of the encoders that have any; `embeddings`: those
    of embedding.csv of all. `robustness`: metrics, and the rows of corruptions.csv and attacks.csv, of the classifiers
    that have any.
    """

    params: Params
    labels: int
    unlabelled: int
    classes: list[str]
    size: int
    channels: int
    models: dict[str, Model]
    probes: dict[str, dict[str, Any]]
    layers: dict[str, list[read.Row]]
    neighbours: dict[str, list[read.Row]]
    embeddings: dict[str, list[read.Row]]
    curves: dict[str, dict[str, list[tuple[float, float]]]]
    audits: dict[str, dict[str, Any]]
    robustness: dict[str, dict[str, Any]]
    times: dict[str, dict[str, Any]]

    @property
    def baseline(self) -> Model:
        return self.models["baseline"]

    @property
    def final(self) -> Model:
        """What params.yaml calls final; where that is not an evaluated classifier, the last one trained."""
        return self.models.get(self.params.final, list(self.models.values())[-1])


def load(root: Path, params: Params) -> Run:
    """Raises BadData naming the first file that is missing or malformed."""
    times = {path.stem: read.page(path, "seconds") for path in sorted((root / "times").glob("*.json"))}
    page = read.page(root / "models" / "finetune" / "model.json", "labels", "classes", "size", "channels")
    tune, names = params.finetune, list(params.pretrain)
    listed = [
        _model(root, times, "baseline", "Baseline", "baseline", None, "scratch", tune.method),
        _model(root, times, "finetune", "Teacher", "teacher", None, tune.start, tune.method),
    ] + [
        _model(root, times, f"student-{name}", f"Student {name}", "student", each.teacher, each.start, each.method)
        for name, each in params.rounds.items()
    ]
    models = {model.name: model for model in listed}
    trained = [*names, *models]
    probed = ["scratch", *names] if names else []
    return Run(
        params=params,
        labels=page["labels"],
        unlabelled=max(0, manifests.read(root / "shards" / "unlabelled").samples - page["labels"]),
        classes=page["classes"],
        size=page["size"],
        channels=page["channels"],
        models=models,
        probes={name: read.page(root / "scores" / name / "metrics.json", "n", *PROBES) for name in probed},
        layers=_tables(root, probed, "layers", LAYERS),
        neighbours=_tables(root, names, "neighbours", ("rank", "cosine")),
        embeddings=_tables(root, [*probed, *models], "embedding", ("x", "y")),
        curves={name: read.curve(root / "curves" / f"{name}.csv") for name in trained},
        audits={
            name: read.page(root / "audits" / name / "audit.json", *AUDIT)
            for name in params.rounds
            if models[f"student-{name}"].skipped is None
        },
        robustness={name: _robustness(path) for name in models if (path := root / "robustness" / name).exists()},
        times=times,
    )


def _robustness(folder: Path) -> dict[str, Any]:
    return {
        "metrics": read.page(folder / "metrics.json", "n", "clean_error"),
        "corruptions": read.table(folder / "corruptions.csv", ("severity", "error")),
        "attacks": read.table(folder / "attacks.csv"),
    }


def _tables(root: Path, names: list[str], table: str, numbers: tuple[str, ...]) -> dict[str, list[read.Row]]:
    paths = {name: root / "scores" / name / f"{table}.csv" for name in names}
    found = {name: read.table(path, numbers) for name, path in paths.items() if path.exists()}
    return {name: rows for name, rows in found.items() if rows}


def _model(root: Path, times: dict, name: str, title: str, role: str, teacher: str | None, start: str, method: str):
    scores = root / "scores" / name
    page = read.page(root / "models" / name / "model.json")
    return Model(
        name=name,
        title=title,
        role=role,
        teacher=teacher,
        start=start,
        method=method,
        metrics=read.page(scores / "metrics.json", *METRICS),
        per_class=read.table(scores / "per_class.csv", ("n", "accuracy")),
        pairs=predictions(scores / "confusion.csv"),
        reliability=read.table(scores / "reliability.csv"),
        risk=read.table(scores / "risk.csv"),
        parameters=page.get("parameters"),
        seconds=times.get(name, {}).get("seconds"),
        speed=times.get(f"evaluate-{name}", {}).get("images_per_second"),
        skipped=page.get("skipped"),
    )


def predictions(path: Path) -> Pairs:
    """Those of confusion.csv."""
    try:
        return [(row["actual"], row["predicted"]) for row in read.table(path, ())]
    except KeyError as missing:
        raise BadData(f"{path}: has no column {missing}; run `evaluate` again") from None


def gain(model: Model, other: Model) -> tuple[float, float | None]:
    """top-1 of `model` minus that of `other`, and half the 95 % interval of the difference on the same test images.

    None where the two were not scored on the same images in the same order.
    """
    return model.metrics["top1"] - other.metrics["top1"], uncertainty(model.pairs, other.pairs)


def uncertainty(mine: Pairs, theirs: Pairs) -> float | None:
    """Half the 95 % interval of a difference of two top-1; None where they are not of the same test images."""
    if [actual for actual, _ in mine] != [actual for actual, _ in theirs] or not mine:
        return None
    rights = ([actual == predicted for actual, predicted in each] for each in (mine, theirs))
    return half(*discordant(*rights), len(mine))

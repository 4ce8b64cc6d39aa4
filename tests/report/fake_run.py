"""A whole run folder, small and made up, but written by the code that writes the real ones wherever there is any."""

import csv
import io

import numpy as np
import torch
from PIL import Image

from pipeline import files
from pipeline.data.write import write_split
from pipeline.engine.monitor import CLASS, EACH
from pipeline.label.audit import audit
from pipeline.label.select import select
from pipeline.params import Params
from pipeline.score import retrieval
from pipeline.score.classifier import score_classifier
from pipeline.score.sheet import sheet
from tests.label.said import Said

PARAMS = {
    "data": {"source": "digits", "labels_per_class": 4, "size": 8, "channels": 1},
    "pretrain": {"simclr": {"from": "scratch", "method": "simclr"}},
    "finetune": {"from": "simclr"},
    "rounds": {
        "1": {"teacher": "finetune", "from": "simclr", "distill": {"select": {"threshold": 0.6}}},
        "2": {"teacher": "student-1", "distill": {"select": {"threshold": 0.6, "quota": 60}}},
    },
    "final": "student-2",
}
MACHINE = {"cpu": "a processor", "cores": 2, "memory_gib": 24, "device": "cpu", "torch": "2.15.0", "python": "3.11.2"}


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def logits_of(labels, classes, skill, seed, sharp=1.6):
    """Logits that are the better, the higher `skill`."""
    chance = torch.Generator().manual_seed(seed)
    return sharp * (torch.randn(len(labels), classes, generator=chance) + skill * torch.eye(classes)[labels])


def audited(keys, truth, classes, teacher, skill, seed, rules, known=True, before=None):
    """What a round's labels and selection are, and their audit. Every twentieth image is of no class."""
    labels = Said(logits_of(truth, len(classes), skill, seed), teacher, keys=keys, classes=classes)
    selection = select(labels.confidence(), labels.guess(), keys, rules, 0, len(classes))
    hidden = {key: int(truth[row]) if row % 20 else -1 for row, key in enumerate(keys)} if known else None
    page = audit(labels, selection, hidden, before, 0)
    return (labels, selection), page


def curve(steps, top, classes, seed):
    """Of a classifier of so many classes, or of an encoder (0). The later a class, the longer it takes to learn."""
    chance = np.random.default_rng(seed)
    rows = []
    for step in range(0, steps + 1, max(1, steps // 100)):
        t = step / steps
        row = {"step": step, "loss": 0.2 + 2.1 * np.exp(-5 * t) + 0.06 * chance.normal(), "lr": 0.05 * (1 - t)}
        if not rows or step % (steps // 10) == 0:
            reached = 0.3 + (top - 0.3) * (1 - np.exp(-6 * t))
            row |= {f"{CLASS}{c:02d}": top * (1 - np.exp(-24 * t / (c % 10 + 1))) for c in range(min(classes, EACH))}
            row |= {"val_top1": reached} if classes else {
                "val_knn": reached, "feature_std": 0.4 + 0.4 * t, "effective_rank": 8 + 22 * t
            }  # fmt: skip
        rows.append(row)
    return rows


def frozen(folder, images, labels, classes, i):
    """Tables and picture of an encoder; the neighbours are those of the pixels."""
    depths = [(16, 3, 0.5 + 0.05 * i), (32, 2, 0.625 + 0.2 * i), (64, 2, 0.55 + 0.15 * i)]
    rows = []
    for depth, (channels, side, share) in enumerate(depths):
        grid = {"depth": depth, "channels": channels, "side": side, "features": channels * side**2}
        share = min(share, 0.9)
        read = {"linear": share, "low": share - 0.05, "high": share + 0.05, "knn": share - 0.1}
        rows.append(grid | {"labels": 4 * len(classes)} | read)
    write_csv(folder / "layers.csv", rows)
    rows = retrieval.queries(labels, 0)
    cosines, near = retrieval.nearest(torch.as_tensor(images).flatten(1).float(), rows, 8)
    both = torch.cat([rows[:, None], near], 1)
    keys = [f"test-{row}" for row in range(len(labels))]
    write_csv(folder / "neighbours.csv", retrieval.table(keys, labels.tolist(), classes, rows, cosines, near))
    files.write_bytes(
        folder / "neighbours.png", sheet(torch.as_tensor(images)[both], labels[both] != labels[rows, None])
    )


def scattered(labels, classes, seed):
    """A map without a meaning, wider than high."""
    chance = np.random.default_rng(seed)
    places = np.stack([np.linspace(0, 1, len(labels)), 0.6 * chance.random(len(labels))], 1).round(3).tolist()
    return [{"x": x, "y": y, "class": classes[c]} for (x, y), c in zip(places, labels.tolist(), strict=True)]


def write(root, images, labels, classes, params=PARAMS, known=True, n_test=300):
    """Fill `root`. images uint8 (N, C, H, W), labels (N,) int64: the last `n_test` are for testing."""
    params = Params.model_validate(params)
    names = [f"img-{i:04d}" for i in range(len(images) - n_test)]

    def samples(rows, labelled):
        for i in rows:
            packed, pixels = io.BytesIO(), images[i]
            Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(packed, "png")
            yield names[i], packed.getvalue(), int(labels[i]) if labelled else -1

    about = {"classes": classes, "size": images.shape[-1], "channels": images.shape[1]}
    write_split(root / "shards" / "labelled", "labelled", samples(range(4 * len(classes)), True), **about)
    write_split(root / "shards" / "unlabelled", "unlabelled", samples(range(len(names)), False), **about)
    truth, test = torch.as_tensor(labels[: len(names)]), torch.as_tensor(labels[len(names) :])
    students = [f"student-{name}" for name in params.rounds]
    for i, name in enumerate(["baseline", "finetune", *students]):
        metrics, tables = score_classifier(
            logits_of(test, len(classes), 2.4 + 0.7 * i, i), test, classes, 1.2 + 0.1 * i
        )
        files.write_json(root / "scores" / name / "metrics.json", metrics)
        for table, rows in (tables | {"embedding": scattered(test, classes, i)}).items():
            write_csv(root / "scores" / name / f"{table}.csv", rows)
        kept = about | {"parameters": 77_850 + 1000 * i, "labels": 4 * len(classes)}
        files.write_json(root / "models" / name / "model.json", kept)
        write_csv(root / "curves" / f"{name}.csv", curve(600, metrics["top1"], len(classes), i))
        time = {"stage": name, "seconds": 31.4 + 7 * i, "images": 38_400, "images_per_second": 1222.9}
        files.write_json(root / "times" / f"{name}.json", time | {"machine": MACHINE})
        files.write_json(
            root / "times" / f"evaluate-{name}.json", time | {"seconds": 0.8, "images_per_second": 9876.5 + i}
        )
    for i, name in enumerate(["scratch", *params.pretrain] if params.pretrain else []):
        probe = {"n": n_test, "knn": min(0.55 + 0.1 * i, 1), "linear": min(0.61 + 0.08 * i, 1), "feature_std": 0.5}
        probe |= {"effective_rank": 11.0, "map": min(0.31 + 0.2 * i, 1), "precision_at_8": min(0.52 + 0.2 * i, 1)}
        probe |= {"nmi": 0.301, "ari": 0.152 + 0.1 * i, "purity": 0.41}
        files.write_json(root / "scores" / name / "metrics.json", probe)
        frozen(root / "scores" / name, images[len(names) :], test, classes, i)
        write_csv(root / "scores" / name / "embedding.csv", scattered(test, classes, i))
    for i, name in enumerate(params.pretrain):
        write_csv(root / "curves" / f"{name}.csv", curve(1500, 0.9, 0, 10 + i))
        files.write_json(root / "times" / f"{name}.json", {"stage": name, "seconds": 71.0, "machine": MACHINE})
    before = None
    for i, (name, each) in enumerate(params.rounds.items()):
        rules = params.round_distill(name).select
        before, page = audited(names, truth, classes, each.teacher, 3.1 + 0.7 * i, 20 + i, rules, known, before)
        files.write_json(root / "audits" / name / "audit.json", page)
        files.write_json(
            root / "times" / f"label-{name}.json", {"stage": f"label-{name}", "seconds": 2.1, "machine": MACHINE}
        )
    files.write_json(root / "times" / "prepare.json", {"stage": "prepare", "seconds": 1.3, "machine": MACHINE})
    return params

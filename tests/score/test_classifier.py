"""The whole score of a classifier and of a probe: one truth in metrics and tables."""

import json

import pytest
import torch

from pipeline.errors import Diverged
from pipeline.score import classifier
from pipeline.score.calibration import brier, ece, nll
from pipeline.score.classifier import score_classifier
from pipeline.score.probe import score_probe

CLASSES = list("abcdefg")
SIZES = (2, 3, 17, 500)


@pytest.mark.parametrize("n", SIZES)
def test_metrics_agree_with_their_parts(n, draw):
    from sklearn.metrics import accuracy_score

    logits, labels = draw(n)
    metrics, _ = score_classifier(logits, labels, CLASSES)
    probabilities = logits.double().softmax(1)
    assert metrics["n"] == n
    assert metrics["top1"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert metrics["nll"] == pytest.approx(nll(logits, labels))
    assert metrics["brier"] == pytest.approx(brier(probabilities, labels))
    assert metrics["ece"] == pytest.approx(ece(probabilities, labels))
    assert metrics["top1_low"] < metrics["top1"] + 1e-9 < metrics["top1_high"] + 1e-6
    json.dumps(metrics, allow_nan=False)


def test_tables_tell_the_same_as_the_metrics(draw):
    logits, labels = draw(500)
    metrics, tables = score_classifier(logits, labels, CLASSES)
    pairs = tables["confusion"]
    assert [row["actual"] for row in pairs] == [CLASSES[label] for label in labels]
    assert sum(row["actual"] == row["predicted"] for row in pairs) / 500 == metrics["top1"]
    assert sum(row["accuracy"] for row in tables["per_class"]) / 7 == pytest.approx(metrics["mean_class_accuracy"])
    assert sum(row["n"] for row in tables["reliability"]) == 500
    assert len(tables["reliability"]) == 15


def test_an_absent_class_is_left_out_of_the_mean():
    metrics, tables = score_classifier(torch.eye(3)[[0, 1, 1, 1]], torch.tensor([0, 0, 1, 1]), ["a", "b", "c"])
    assert metrics["mean_class_accuracy"] == 0.75
    assert tables["per_class"][2]["accuracy"] is None
    assert metrics["top5"] == 1


def test_block_size_does_not_matter(monkeypatch, draw):
    logits, labels = draw(500)
    whole = score_classifier(logits, labels, CLASSES)[0]
    monkeypatch.setattr(classifier, "BLOCK", 7)
    assert score_classifier(logits, labels, CLASSES)[0] == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("broken", (float("nan"), float("inf")))
def test_broken_logits_never_count_as_right(broken, draw):
    logits, labels = draw(17)
    logits[3] = broken
    with pytest.raises(Diverged, match="not finite"):
        score_classifier(logits, labels, CLASSES)


def test_probe():
    labels = torch.arange(80) % 4
    features = torch.randn(80, 6, generator=torch.Generator().manual_seed(0)) + 5 * torch.eye(4, 6)[labels]
    metrics = score_probe(features[:40], labels[:40], features[40:], labels[40:], classes=4)
    assert metrics["n"] == 40
    assert metrics["knn"] > 0.95
    assert metrics["linear"] > 0.95
    for name in ("knn", "linear"):
        assert metrics[f"{name}_low"] < metrics[name] <= metrics[f"{name}_high"]
    assert 3 < metrics["effective_rank"] < 6
    json.dumps(metrics, allow_nan=False)

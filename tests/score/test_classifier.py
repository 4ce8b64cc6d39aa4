"""The whole score of a classifier and of a probe: one truth in metrics and tables."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.errors import Diverged
from pipeline.score import classifier
from pipeline.score.accuracy import confusion
from pipeline.score.bootstrap import bootstrap
from pipeline.score.calibration import adaptive_ece, brier, ece, nll
from pipeline.score.classifier import score_classifier
from pipeline.score.probe import score_probe
from pipeline.score.selective import selective

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
    sure, right = probabilities.amax(1), logits.argmax(1) == labels
    assert metrics["adaptive_ece"] == pytest.approx(adaptive_ece(sure, right))
    assert metrics["aurc"] == pytest.approx(selective(sure, right)[0])
    drawn = bootstrap(confusion(logits.argmax(1), labels, 7), 0)
    for name, known in (("top1", "top1_bootstrap"), ("mean_class_accuracy", "mean_class_accuracy")):
        assert (metrics[f"{known}_low"], metrics[f"{known}_high"]) == drawn[name]
    json.dumps(metrics, allow_nan=False)


def test_a_temperature_changes_what_is_tempered_and_nothing_else(draw):
    logits, labels = draw(500)
    plain, tempered = (score_classifier(logits, labels, CLASSES, t)[0] for t in (None, 2.0))
    new = {"temperature", "nll_tempered", "ece_tempered"}
    assert {name: plain[name] for name in new} == dict.fromkeys(new)
    assert {name: tempered[name] for name in plain.keys() - new} == {name: plain[name] for name in plain.keys() - new}
    assert tempered["temperature"] == 2
    assert tempered["nll_tempered"] == pytest.approx(nll(logits.double() / 2, labels))
    assert tempered["ece_tempered"] == pytest.approx(ece((logits.double() / 2).softmax(1), labels))


def test_of_one_image_and_of_one_class_all_is_said_that_can_be():
    one, tables = score_classifier(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), ["a", "b"])
    absent = {name for name, value in one.items() if value is None}
    assert absent == {
        *("top1_bootstrap_low", "top1_bootstrap_high", "mean_class_accuracy_low", "mean_class_accuracy_high"),
        *("aurc", "temperature", "nll_tempered", "ece_tempered"),
    }
    assert tables["risk"] == []
    same, _ = score_classifier(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), ["a"])
    assert (same["top1"], same["aurc"], same["adaptive_ece"], same["mean_class_accuracy_low"]) == (1, 0, 0, 1)
    json.dumps([one, same], allow_nan=False)


@pytest.mark.parametrize("size", (1, 7, 100, 500))
def test_logits_may_come_in_blocks(size, draw):
    logits, labels = draw(500)
    whole = score_classifier(logits, labels, CLASSES, 1.5)
    metrics, tables = score_classifier((rows for rows in logits.split(size)), labels, CLASSES, 1.5)
    assert metrics == pytest.approx(whole[0], rel=1e-12)
    assert tables["confusion"] == whole[1]["confusion"] and tables["risk"] == whole[1]["risk"]


def test_half_precision_is_as_good_as_its_numbers(draw):
    """Logits of a memory map of fp16: what is measured is those numbers, not sums in fp16."""
    logits, labels = draw(500)
    half = logits.half()
    assert score_classifier(half, labels, CLASSES)[0] == score_classifier(half.double(), labels, CLASSES)[0]


def test_lost_blocks_are_noticed(draw):
    logits, labels = draw(17)
    with pytest.raises(ValueError, match="10 rows of logits for 17 labels"):
        score_classifier(iter([logits[:10]]), labels, CLASSES)


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
    whole = score_classifier(logits, labels, CLASSES, 1.5)[0]
    monkeypatch.setattr(classifier, "BLOCK", 7)
    assert score_classifier(logits, labels, CLASSES, 1.5)[0] == pytest.approx(whole, rel=1e-12)


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
    assert (metrics["knn_k"], metrics["knn_tau"]) == (20, 0.07)
    assert score_probe(features[:12], labels[:12], features[40:], labels[40:], classes=4)["knn_k"] == 12
    assert metrics["purity"] > 0.95 and metrics["nmi"] > 0.9 and metrics["ari"] > 0.9
    json.dumps(metrics, allow_nan=False)


@pytest.mark.slow
def test_memory_grows_by_a_few_numbers_for_each_image_and_not_by_its_logits():
    """48 more blocks of 1,000 classes would be 750 MiB of logits; the peaks of one run and the next differ by 110."""

    def peak(blocks):
        script = Path(__file__).parents[2] / "benchmarks" / "metrics.py"
        command = [sys.executable, str(script), str(blocks * classifier.BLOCK), "1000"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return 1024 * float(re.search(r"([0-9.]+) GiB at most", said)[1])

    assert peak(54) - peak(6) < 300

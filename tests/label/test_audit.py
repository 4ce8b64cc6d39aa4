"""The audit of ten pseudo-labels, counted by hand."""

import csv
import json
from math import log

import pytest
import torch

from pipeline.label.audit import LEVELS, audit, coverage_rows, write_audit
from pipeline.label.select import Selection, select
from pipeline.params import Select
from tests.label.said import Said, two_classes

CLASSES = ["ant", "bee"]
KEYS = [f"k{i}" for i in range(10)]
#            k0    k1    k2    k3    k4    k5    k6    k7    k8    k9
SURE = [0.995, 0.955, 0.905, 0.855, 0.805, 0.755, 0.705, 0.655, 0.605, 0.555]
GUESS = [0, 0, 1, 1, 0, 1, 0, 1, 1, 0]
TRUTH = {"k0": 0, "k1": 1, "k2": 1, "k3": -1, "k4": 0, "k5": 1, "k6": 1, "k7": 1}  # k8 and k9 are not known
#         right    wrong    right    wrong     right    right    wrong    right


def page_of(truth=TRUTH, previous=None, guess=GUESS, **params):
    labels = Said(two_classes(SURE, guess), block=4, keys=KEYS, classes=CLASSES)
    selection = select(labels.confidence(), labels.guess(), KEYS, Select(**{"threshold": 0.7} | params), 0, 2)
    return audit(labels, selection, truth, previous, 0)


def test_against_the_truth():
    page = page_of()
    assert page["n"] == 10 and page["teachers"] == ["finetune"] and page["classes"] == CLASSES and page["truth"] is True
    assert page["top1"] == 5 / 8
    # k3 has no class, so no likelihood; k0 k2 k4 k5 k7 were right, k1 and k6 wrong
    likelihoods = [0.995, 0.045, 0.905, 0.805, 0.755, 0.295, 0.655]
    assert page["nll"] == pytest.approx(-sum(map(log, likelihoods)) / 7, rel=1e-5)


def test_calibration_counts_out_of_class_as_wrong():
    page = page_of()
    assert sum(row["n"] for row in page["reliability"]) == 8
    # fifteenths: k0 k1 in (14, 15]; k2 in (13, 14]; k3 k4 in (12, 13]; k5 in (11, 12]; k6 in (10, 11]; k7 in (9, 10]
    gaps = [2 * abs(0.5 - 0.975), 1 - 0.905, 2 * abs(0.5 - 0.83), 1 - 0.755, 0.705, 1 - 0.655]
    assert page["ece"] == pytest.approx(sum(gaps) / 8, rel=1e-5)


def test_coverage_and_precision_by_threshold():
    page = page_of()
    at = {t: (c, p) for t, c, p in zip(page["thresholds"], page["coverage"], page["precision"], strict=True)}
    assert len(at) == 101
    assert at[0.0] == (1.0, 5 / 8)
    assert at[0.6] == (0.9, 5 / 8)  # all but k9
    assert at[0.7] == (0.7, 4 / 7)
    assert at[0.9] == (0.3, 2 / 3)
    assert at[1.0] == (0.0, None)


def test_what_was_selected():
    page = page_of()
    assert page["selected"] == {"n": 7, "weight": 7, "precision": 4 / 7, "threshold": 0.7}
    assert page["per_class"] == [
        {"class": "ant", "true": 2, "guessed": 5, "selected": 4, "weight": 4, "precision": 2 / 4, "threshold": 0.7},
        {"class": "bee", "true": 5, "guessed": 5, "selected": 3, "weight": 3, "precision": 2 / 3, "threshold": 0.7},
    ]
    assert (page["out_of_class"]["n"], page["out_of_class"]["selected"]) == (1, 1)


def test_coverage_and_precision_of_each_class():
    """Ants: k0 k1 k4 k6 k9, of which k0 and k4 are right; bees: k2 k3 k5 k7 k8, k3 wrong. k8 and k9 are not known."""
    curves = page_of()["class_curves"]
    assert curves["thresholds"] == LEVELS
    at = {level: place for place, level in enumerate(LEVELS)}
    ant, bee = (
        {t: (c[i], p[i]) for t, i in at.items()} for c, p in zip(curves["coverage"], curves["precision"], strict=True)
    )
    assert ant[0.0] == (1, 2 / 4) and bee[0.0] == (1, 3 / 4)
    assert ant[0.6] == (4 / 5, 2 / 4) and bee[0.6] == (1, 3 / 4)
    assert ant[0.8] == (3 / 5, 2 / 3) and bee[0.8] == (2 / 5, 1 / 2)
    assert ant[0.95] == (2 / 5, 1 / 2) and bee[0.95] == (0, None)
    assert ant[0.99] == (1 / 5, 1)


def test_a_class_that_is_never_guessed_covers_nothing():
    curves = page_of(guess=[0] * 10)["class_curves"]
    assert curves["coverage"][1] == curves["precision"][1] == [None] * len(LEVELS)
    assert page_of(truth=None)["class_curves"]["precision"] is None


def test_weights_do_not_change_precision():
    page = page_of(quota=12)  # 12 / 4 copies of each ant, 12 / 3 of each bee
    assert page["selected"] == {"n": 7, "weight": 24, "precision": 4 / 7, "threshold": 0.7}
    assert [row["weight"] for row in page["per_class"]] == [12, 12]


def test_pictures():
    pictures = page_of()["pictures"]
    keys = {name: [shown["key"] for shown in row] for name, row in pictures.items()}
    assert keys["surest_right"] == ["k0", "k2", "k4", "k5", "k7"]
    assert keys["surest_wrong"] == ["k1", "k3", "k6"]
    assert keys["surest"] == KEYS and keys["least_sure"] == KEYS[::-1]
    labels = [shown["label"] for shown in pictures["surest"]]
    assert labels == [0, 1, 1, -1, 0, 1, 1, 1, None, None]
    shown = pictures["surest_wrong"][1]
    assert shown["guess"] == 1 and shown["confidence"] == pytest.approx(0.855)


@pytest.mark.parametrize("truth", [None, {}, {"elsewhere": 1}])
def test_without_truth_nothing_is_claimed(truth):
    page = page_of(truth)
    assert page["truth"] is False and page["reliability"] == []
    for name in ("top1", "ece", "nll", "precision", "out_of_class", "temperature"):
        assert page[name] is None
    assert page["selected"]["precision"] is None and page["class_curves"]["precision"] is None
    assert page["per_class"][0]["precision"] is None and page["per_class"][0]["true"] is None
    assert page["coverage"][70] == 0.7
    assert page["pictures"]["surest_right"] == page["pictures"]["surest_wrong"] == []
    assert len(page["pictures"]["surest"]) == 10


def test_what_changed_since_the_last_round():
    assert page_of()["churn"] is None
    flipped = Said(two_classes(SURE, [1 - GUESS[0], *GUESS[1:9], 1 - GUESS[9]]))
    chosen = Selection(torch.arange(2), torch.ones(2, dtype=torch.int64), [0, 0], 0)
    churn = page_of(previous=(flipped, chosen))["churn"]
    assert (churn["changed"], churn["both"], churn["both_changed"]) == (0.2, 2, 0.5)


def test_the_files(tmp_path):
    page = page_of()
    write_audit(tmp_path, page)
    assert json.loads((tmp_path / "audit.json").read_text()) == page
    with open(tmp_path / "coverage.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 101 == len(coverage_rows(page))
    assert rows[70] == {"threshold": "0.7", "coverage": "0.7", "precision": str(4 / 7)}
    assert rows[100] == {"threshold": "1.0", "coverage": "0.0", "precision": ""}

"""Top-k, confusion, per-class accuracy and Wilson's interval against scikit-learn and scipy."""

import numpy as np
import pytest
import torch

from pipeline.score import accuracy
from pipeline.score.accuracy import confusion, per_class, top_k, wilson

SIZES = (2, 3, 17, 500)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("k", (1, 2, 5, 7))
def test_top_k(n, k, draw):
    from sklearn.metrics import top_k_accuracy_score

    logits, labels = draw(n)
    expected = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=range(7)) if k < 7 else 1.0
    assert top_k(logits, labels, k) == pytest.approx(expected)


def test_top_k_breaks_ties_as_argmax_does():
    logits, labels = torch.zeros(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    assert [top_k(logits, labels, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert top_k(logits, labels, 1) == (logits.argmax(1) == labels).double().mean()


@pytest.mark.parametrize("n", SIZES)
def test_confusion_has_actual_classes_as_rows(n, draw):
    from sklearn.metrics import confusion_matrix

    logits, labels = draw(n)
    guess = logits.argmax(1)
    np.testing.assert_array_equal(confusion(guess, labels, 7), confusion_matrix(labels, guess, labels=range(7)))


@pytest.mark.parametrize("n", SIZES)
def test_per_class_is_recall_and_precision(n, draw):
    from sklearn.metrics import precision_recall_fscore_support

    logits, labels = draw(n)
    precision, recall, _, support = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(7), zero_division=np.nan
    )
    rows = per_class(logits, labels, list("abcdefg"))
    assert [row["class"] for row in rows] == list("abcdefg")
    assert [row["n"] for row in rows] == support.tolist()
    for key, expected in (("accuracy", recall), ("precision", precision)):
        got = [np.nan if row[key] is None else row[key] for row in rows]
        np.testing.assert_allclose(got, expected)


def test_a_class_absent_from_the_test_set_has_no_accuracy():
    rows = per_class(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 0, 0]), ["a", "b", "c"])
    assert [row["accuracy"] for row in rows] == [pytest.approx(2 / 3), None, None]
    assert [row["precision"] for row in rows] == [1.0, 0.0, None]


@pytest.mark.parametrize(("right", "n"), ((0, 3), (3, 3), (1, 2), (17, 17), (431, 500)))
def test_wilson(right, n):
    from scipy.stats import binomtest

    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_block_size_does_not_matter(monkeypatch, draw):
    logits, labels = draw(500)
    whole = top_k(logits, labels, 2)
    monkeypatch.setattr(accuracy, "BLOCK", 7)
    assert top_k(logits, labels, 2) == whole

"""The linear probe: reads what is linear, nothing from noise, and never looks at the test labels."""

import numpy as np
import pytest
import torch

from pipeline.score import linear as module
from pipeline.score.linear import FLOOR, linear


@pytest.fixture
def blobs():
    chance = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = chance.normal(size=(90, 6)) + 4 * np.eye(3, 6)[labels]
    x, y = torch.from_numpy(features).float(), torch.from_numpy(labels)
    return x[:60], y[:60], x[60:], y[60:]


def test_separable_features_are_read(blobs):
    accuracy, logits = linear(*blobs, classes=3)
    assert accuracy == pytest.approx((logits.argmax(1) == blobs[3]).double().mean())
    assert accuracy > 0.95
    assert logits.exp().sum(1).numpy() == pytest.approx(np.ones(30), abs=1e-9)


def test_permuted_labels_are_not(blobs):
    train, labels, test, truth = blobs
    mixed = labels[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert linear(train, mixed, test, truth, classes=3)[0] < 0.7


def test_logits_do_not_depend_on_the_test_labels(blobs):
    train, labels, test, truth = blobs
    assert torch.equal(linear(*blobs, classes=3)[1], linear(train, labels, test, truth.flip(0), classes=3)[1])


def test_equals_scikit_learn_at_the_chosen_strength(blobs, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(module, "STRENGTHS", (0.1,))
    train, labels, test, _ = blobs
    train, test = ((x.double() - train.double().mean(0)).numpy() for x in (train, test))
    oracle = LogisticRegression(C=0.1, max_iter=2000).fit(train / train.std(), labels)
    expected = oracle.predict_log_proba(test / train.std())
    np.testing.assert_allclose(linear(*blobs, classes=3)[1], np.maximum(expected, FLOOR), rtol=1e-6)


def test_the_unit_of_the_features_does_not_matter(blobs):
    train, labels, test, truth = blobs
    scaled = linear(1000 * train, labels, 1000 * test, truth, classes=3)[1]
    torch.testing.assert_close(scaled, linear(*blobs, classes=3)[1], rtol=2e-3, atol=2e-3)


def test_one_label_per_class_and_an_absent_class(blobs):
    train, labels, test, truth = blobs
    accuracy, logits = linear(train[:3], labels[:3], test, truth, classes=5)
    assert logits.shape == (30, 5)
    assert (logits[:, 3:] == FLOOR).all()
    assert accuracy > 0.6


def test_collapsed_features_give_chance(blobs):
    _, labels, _, truth = blobs
    assert linear(torch.ones(60, 6), labels, torch.ones(30, 6), truth, classes=3)[0] == pytest.approx(1 / 3)

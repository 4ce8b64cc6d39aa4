"""NLL, Brier, ECE and temperature against scikit-learn, a plain loop, and known answers."""

from math import ceil, log

import numpy as np
import pytest
import torch

from pipeline.score import calibration
from pipeline.score.calibration import adaptive_ece, brier, ece, fit_temperature, gap, nll, reliability

SIZES = (2, 3, 17, 500)


@pytest.mark.parametrize("n", SIZES)
def test_nll(n, draw):
    from sklearn.metrics import log_loss

    logits, labels = draw(n)
    assert nll(logits, labels) == pytest.approx(log_loss(labels, logits.double().softmax(1), labels=range(7)))


def test_nll_survives_large_logits():
    logits = torch.tensor([[3e4, 0.0], [0.0, 3e4]], dtype=torch.float32)
    assert nll(logits, torch.tensor([0, 0])) == pytest.approx(1.5e4)


@pytest.mark.parametrize("n", SIZES)
def test_brier_is_the_sum_over_classes(n, draw):
    logits, labels = draw(n)
    probabilities = logits.double().softmax(1)
    hot = np.eye(7)[labels]
    assert brier(probabilities, labels) == pytest.approx(((probabilities.numpy() - hot) ** 2).sum(1).mean())


def test_brier_ends():
    hot = torch.eye(4)
    assert brier(hot, torch.arange(4)) == 0
    assert brier(hot, torch.tensor([1, 2, 3, 0])) == 2


def by_loop(probabilities, labels, bins):
    """ECE as in the paper, one sample at a time, the bins found by ceil."""
    found = [[] for _ in range(bins)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        found[max(ceil(confidence * bins) - 1, 0)].append((confidence, row.index(confidence) == label))
    total = 0.0
    for inside in filter(None, found):
        total += abs(sum(right for _, right in inside) - sum(sure for sure, _ in inside))
    return total / len(labels)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bins", (1, 10, 15))
def test_ece(n, bins, draw):
    logits, labels = draw(n)
    probabilities = (3 * logits).double().softmax(1)
    assert ece(probabilities, labels, bins) == pytest.approx(by_loop(probabilities, labels, bins), abs=1e-12)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_bins_are_open_below_and_closed_above(dtype):
    confidence = torch.tensor([i / 15 for i in range(1, 16)], dtype=dtype)
    assert [row["n"] for row in reliability(confidence, confidence > 0)] == [1] * 15


def test_certain_samples_fall_in_the_last_bin():
    rows = reliability(torch.tensor([1.0, 1.0, 1.0000001]), torch.tensor([True, True, False]))
    assert [row["n"] for row in rows] == [0] * 14 + [3]
    assert rows[-1]["accuracy"] == pytest.approx(2 / 3)
    assert rows[0]["confidence"] is None
    assert rows[-1]["hi"] == 1
    assert gap(rows) == pytest.approx(1 / 3)


def test_uniform_guessing_of_a_balanced_set_is_calibrated():
    assert ece(torch.full((40, 4), 0.25), torch.arange(40) % 4) == pytest.approx(0)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bins", (1, 10, 15))
def test_adaptive_ece_has_as_many_samples_in_each_bin(n, bins):
    """In order of confidence, dealt out one after the other; a bin without a sample counts nothing."""
    draw = np.random.default_rng(n)
    confidence, right = draw.random(n), draw.random(n) < 0.6
    total, order = 0.0, np.argsort(-confidence)
    for b in range(bins):
        inside = [i for place, i in enumerate(order) if place * bins // n == b]
        total += abs(right[inside].sum() - confidence[inside].sum()) / n
    assert adaptive_ece(torch.from_numpy(confidence), torch.from_numpy(right), bins) == pytest.approx(total, abs=1e-12)


def test_adaptive_ece_of_one_bin_is_the_gap_of_the_means_and_of_a_bin_each_the_mean_gap():
    confidence, right = torch.tensor([0.9, 0.6, 0.8, 0.5]), torch.tensor([True, False, True, True])
    assert adaptive_ece(confidence, right, 1) == pytest.approx(abs(0.75 - 0.7))
    assert adaptive_ece(confidence, right, 4) == pytest.approx((0.1 + 0.6 + 0.2 + 0.5) / 4)


def test_adaptive_ece_sees_a_crowd_that_equal_widths_put_into_one_bin():
    """All confidences lie in one fifteenth; the lower half is far too sure, the upper half not sure enough."""
    confidence = torch.linspace(0.94, 0.99, 300, dtype=torch.float64)
    right = torch.arange(300) >= 10
    assert gap(reliability(confidence, right)) == pytest.approx(abs(290 / 300 - 0.965))
    assert adaptive_ece(confidence, right) > 2 * gap(reliability(confidence, right))


def test_adaptive_ece_does_not_depend_on_the_order_of_equals():
    confidence, right = torch.tensor([0.5, 0.9] * 20), torch.arange(40) % 8 < 3
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert adaptive_ece(confidence[shuffled], right[shuffled]) == pytest.approx(adaptive_ece(confidence, right))


@pytest.mark.parametrize("n", SIZES)
def test_nll_at_a_temperature(n, draw):
    logits, labels = draw(n)
    assert nll(logits, labels, 2.5) == pytest.approx(nll(logits.double() / 2.5, labels))


@pytest.mark.parametrize("true", (0.5, 1.0, 3.0))
def test_temperature_is_recovered(true):
    chance = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=chance) * 2
    labels = logits.softmax(1).multinomial(1, generator=chance).squeeze(1)
    assert fit_temperature(logits * true, labels) == pytest.approx(true, rel=0.04)


def test_temperature_of_a_perfect_teacher_stays_in_its_bounds():
    found = fit_temperature(torch.eye(3), torch.arange(3))
    assert found == pytest.approx(calibration.COLDEST, rel=0.01)


def test_block_size_does_not_matter(monkeypatch, draw):
    logits, labels = draw(500)
    whole = nll(logits, labels), brier(logits.softmax(1), labels)
    monkeypatch.setattr(calibration, "BLOCK", 7)
    assert (nll(logits, labels), brier(logits.softmax(1), labels)) == pytest.approx(whole, rel=1e-12)


def test_uniform_logits_have_the_nll_of_chance():
    assert nll(torch.zeros(3, 10), torch.tensor([0, 4, 9])) == pytest.approx(log(10))

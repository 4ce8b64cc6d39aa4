"""FreeMatch: thresholds that the predictions make, and the fairness term with the sign of the paper."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.losses import unfairness
from tests.contract import small_task as task
from tests.methods import seeing

ENTRY = catalogue.find("freematch", "semi")


def made(**knobs):
    return seeing.logits(task.method(ENTRY, **knobs))


class Oracle:
    """Equations 5 to 12, batch by batch, in float64."""

    def __init__(self, m, weight=1.0, fairness=0.01, k=10):
        self.tau, self.p, self.h = 1 / k, np.full(k, 1 / k), np.full(k, 1 / k)
        self.m, self.weight, self.fairness, self.k = m, weight, fairness, k

    def loss(self, batch):
        q, strong = seeing.softmax(batch["u"]), seeing.softmax(batch["s"])
        sure, guess = q.max(1), q.argmax(1)
        self.tau = self.m * self.tau + (1 - self.m) * sure.mean()
        self.p = self.m * self.p + (1 - self.m) * q.mean(0)
        self.h = self.m * self.h + (1 - self.m) * np.eye(self.k)[guess].mean(0)
        self.kept = sure >= (self.p / self.p.max() * self.tau)[guess]
        pseudo = (self.kept * seeing.cross_entropy(batch["s"], guess)).mean()
        fair = 0.0
        if self.kept.any():
            mean = strong[self.kept].mean(0)
            shares = np.eye(self.k)[strong[self.kept].argmax(1)].mean(0)
            b = np.where(shares > 0, mean / np.where(shares > 0, shares, 1), 0)
            a, b = self.p / self.h / (self.p / self.h).sum(), b / b.sum()
            fair = sum(a[c] * np.log(b[c]) for c in range(self.k) if b[c] > 0)
        labelled = seeing.cross_entropy(batch["x"], batch["y"].numpy()).mean()
        return labelled + self.weight * pseudo + self.fairness * fair


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("fairness", (0.0, 0.5))
def test_three_steps_are_the_equations(n, fairness):
    """Thresholds of a step know its own batch already."""
    method, oracle = made(m=0.6, fairness=fairness, weight=0.7), Oracle(0.6, 0.7, fairness)
    for step in range(3):
        batch = seeing.batch(n + 20 * step)
        assert method(**batch).item() == pytest.approx(oracle.loss(batch), rel=1e-5)
        assert method.notes["kept"].item() == pytest.approx(oracle.kept.mean())
        method.remember()
        assert method.tau.item() == pytest.approx(oracle.tau, rel=1e-5)
        np.testing.assert_allclose(method.means, np.stack([oracle.p, oracle.h]), rtol=1e-4)


def test_at_first_the_threshold_is_that_of_guessing():
    method = made()
    assert method.tau.item() == pytest.approx(0.1) and method.means.eq(0.1).all()
    batch = seeing.batch(8)
    method(**batch)
    assert method.notes["kept"] > 0.9
    assert method.tau.item() == pytest.approx(0.1), "nothing is remembered yet"


def test_to_reach_the_threshold_is_enough():
    method = made(m=1.0)
    method.tau.fill_(0.5)
    u = seeing.of([0.5, 0.5, *[0.0] * 8], [0.25, 0.25, 0.25, 0.25, *[0.0] * 6])
    assert u.softmax(1).amax(1).tolist() == [0.5, 0.25]
    method(**seeing.batch(1) | {"u": u})
    assert method.notes["kept"] == 0.5


def test_a_rare_class_has_a_lower_threshold():
    """Predicted half as often: half the threshold."""
    method = made(m=1.0)
    method.tau.fill_(0.8)
    method.means[0] = torch.tensor([0.2, 0.1, *[0.0875] * 8])
    u = seeing.guesses([0.75, 0.85, 0.39, 0.41], [0, 0, 1, 1])
    method(**seeing.batch(2) | {"u": u})
    assert method.notes["kept"] == 0.5


def test_nothing_kept_costs_nothing_beyond_the_labels():
    method = made(m=1.0, fairness=0.5)
    method.tau.fill_(1.0)
    batch = seeing.batch(3, scale=0.1)
    batch["s"].requires_grad_()
    loss = method(**batch)
    expected = seeing.cross_entropy(batch["x"], batch["y"].numpy()).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert batch["s"].grad.isfinite().all()


def test_the_fairness_term_is_minus_ln_k_where_all_classes_are_alike_and_less_where_they_are_not():
    """-H(a, b) with b = a, and with another b: the paper's sign asks for the second (equation 11)."""
    alike, all_kept = torch.full((10,), 0.1), torch.ones(10)
    found = unfairness(seeing.guesses([0.9] * 10, list(range(10))), all_kept, alike, alike)
    assert found.item() == pytest.approx(-np.log(10), rel=1e-5)
    uneven = unfairness(seeing.guesses([0.9] * 9 + [0.2], list(range(10))), all_kept, alike, alike)
    assert uneven < found
    assert unfairness(seeing.batch(5)["s"], torch.zeros(10), alike, alike) == 0

"""SoftMatch: weights from a truncated Gaussian, and alignment that is for weights alone."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.methods import seeing

ENTRY = catalogue.find("softmatch", "semi")


def made(**knobs):
    return seeing.logits(task.method(ENTRY, **knobs))


class Oracle:
    """Algorithm 1, batch by batch, in float64."""

    def __init__(self, m, sigmas, k=10):
        self.p, self.mean, self.variance, self.m, self.sigmas = np.full(k, 1 / k), 1 / k, 1.0, m, sigmas

    def loss(self, batch):
        p = seeing.softmax(batch["u"])
        self.p = self.m * self.p + (1 - self.m) * p.mean(0)
        self.mean = self.m * self.mean + (1 - self.m) * p.max(1).mean()
        self.variance = self.m * self.variance + (1 - self.m) * p.max(1).var(ddof=1)
        aligned = p * (1 / len(self.p)) / self.p
        sure = (aligned / aligned.sum(1, keepdims=True)).max(1)
        narrow = self.variance / self.sigmas**2
        self.weights = np.where(sure < self.mean, np.exp(-((sure - self.mean) ** 2) / (2 * narrow)), 1)
        pseudo = (self.weights * seeing.cross_entropy(batch["s"], p.argmax(1))).mean()
        return seeing.cross_entropy(batch["x"], batch["y"].numpy()).mean() + pseudo


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("sigmas", (1.0, 2.0))
def test_three_steps_are_the_equations(n, sigmas):
    method, oracle = made(m=0.6, sigmas=sigmas), Oracle(0.6, sigmas)
    for step in range(3):
        batch = seeing.batch(n + 20 * step)
        assert method(**batch).item() == pytest.approx(oracle.loss(batch), rel=1e-5)
        assert method.notes["kept"].item() == pytest.approx(oracle.weights.mean(), rel=1e-5)
        method.remember()
        np.testing.assert_allclose(method.p, oracle.p, rtol=1e-4)
        np.testing.assert_allclose(method.confidence, [oracle.mean, oracle.variance], rtol=1e-4)


def weights(method, u):
    """Of images whose strong view is wrong by 1 nat each, one by one."""
    found = []
    for row in u:
        method(**seeing.batch(1) | {"u": row[None], "s": torch.zeros(1, 10)})
        found.append(method.notes["kept"].item())
    return found


def test_above_the_mean_all_weigh_1_and_below_it_less_the_further():
    method = made(m=1.0, sigmas=2.0)
    method.confidence.copy_(torch.tensor([0.6, 0.04]))
    found = weights(method, seeing.guesses([0.9, 0.6, 0.5, 0.4, 0.2], [3] * 5))
    assert found == pytest.approx([1, 1, np.exp(-0.5), np.exp(-2), np.exp(-8)], rel=1e-3)


def test_alignment_makes_a_rare_class_surer_and_never_another_label():
    method = made(m=1.0)
    method.confidence.copy_(torch.tensor([0.8, 0.01]))
    method.p.copy_(torch.tensor([0.28, 0.02, *[0.0875] * 8]))
    (often,), (rare,) = (weights(method, seeing.guesses([0.6], [c])) for c in (0, 1))
    assert rare == 1 and often < 0.01
    p = torch.full((1, 10), 0.0)
    p[0, 0], p[0, 1] = 0.6, 0.4  # aligned, class 1 would be the larger one
    s = torch.zeros(1, 10)
    s[0, 0] = 40.0
    batch = seeing.batch(1) | {"u": p.clamp_min(1e-12).log(), "s": s}
    labelled = seeing.cross_entropy(batch["x"], batch["y"].numpy()).mean()
    assert method(**batch).item() == pytest.approx(labelled, rel=1e-5)
    assert method.notes["kept"] == 1


def test_the_running_confidence_is_that_before_alignment():
    """Equation 6 and Algorithm 1; USB's code takes that after it."""
    method = made(m=0.0)
    method.p.copy_(torch.tensor([0.28, 0.02, *[0.0875] * 8]))
    u = seeing.guesses([0.4, 0.8], [0, 1])
    method(**seeing.batch(1) | {"u": u, "s": u})
    method.remember()
    assert method.confidence.tolist() == pytest.approx([0.6, 0.08])


def test_classes_alike_are_not_changed_by_alignment():
    method = made(m=1.0)
    method.confidence.copy_(torch.tensor([0.6, 0.04]))
    assert weights(method, seeing.guesses([0.5], [3])) == pytest.approx([np.exp(-0.5)], rel=1e-4)


def test_the_weight_has_no_gradient():
    method, batch = made(m=1.0), seeing.batch(4)
    method.confidence.copy_(torch.tensor([0.99, 0.04]))  # all are on the slope
    batch["u"].requires_grad_()
    batch["s"].requires_grad_()
    method(**batch).backward()
    assert not batch["u"].grad.any() and batch["s"].grad.any(1).all()

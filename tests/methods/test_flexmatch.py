"""FlexMatch: thresholds of classes from what is remembered of every unlabelled image."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.methods import seeing

ENTRY = catalogue.find("flexmatch", "semi")


def method(last, **knobs):
    """One that remembers these classes, and sees logits."""
    made = seeing.logits(ENTRY.load()(task.encoder(), classes=10, images=len(last), **knobs).train())
    made.last.copy_(torch.tensor(last))
    return made


def oracle_thresholds(last, tau, warm_up=True, classes=10):
    """Algorithm 1: sigma counts confident images of a class; M(beta) = beta / (2 - beta)."""
    sigma = np.array([sum(1 for c in last if c == k) for k in range(classes)], np.float64)
    never = sum(1 for c in last if c == -1)
    top = max(sigma.max(), never) if warm_up else sigma.max()
    beta = sigma / top if top else np.zeros(classes)
    return tau * beta / (2 - beta)


@pytest.mark.parametrize("last", [[0, 0, 0, 1, 2, 2], [-1, -1, -1, 4, 4, 5], [-1] * 6, [3] * 6], ids=str)
@pytest.mark.parametrize("warm_up", [True, False])
def test_the_thresholds_are_those_of_the_paper(last, warm_up):
    found = method(last, tau=0.9, warm_up=warm_up).thresholds()
    np.testing.assert_allclose(found, oracle_thresholds(last, 0.9, warm_up), rtol=1e-6)


def test_a_class_half_learned_has_a_third_of_the_threshold_and_no_class_more_than_all():
    found = method([0, 0, 0, 0, 1, 1, -1]).thresholds()
    assert found[:3].tolist() == pytest.approx([0.95, 0.95 / 3, 0.0])
    before = method([0, 1, 1, 1, -1, -1, -1, -1]).thresholds()
    assert before.max() == pytest.approx(0.95 * 0.75 / 1.25), "most have never been confident"


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_the_mean_over_all_unlabelled_images(n):
    last = torch.randint(-1, 10, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    made, batch = method(last, tau=0.8, weight=0.7), seeing.batch(n)
    p = seeing.softmax(batch["u"])
    sure, guess = p.max(1), p.argmax(1)
    kept = sure >= oracle_thresholds(last, 0.8)[guess]
    expected = seeing.cross_entropy(batch["x"], batch["y"].numpy()).mean()
    expected += 0.7 * (kept * seeing.cross_entropy(batch["s"], guess)).sum() / (2 * n)
    assert made(**batch, index=torch.arange(2 * n)).item() == pytest.approx(expected, rel=1e-5)
    assert made.notes["kept"].item() == pytest.approx(kept.mean())


def test_to_reach_the_threshold_is_enough_to_count_and_to_be_remembered():
    made = method(list(range(10)) * 2, tau=0.5)  # all alike: every threshold is tau
    views = {"x": torch.zeros(1, 2), "y": torch.zeros(1, dtype=torch.int64), "index": torch.tensor([7, 8])}
    u = seeing.of([0.5, 0.5], [0.25, 0.75])
    assert u.softmax(1)[0, 0] == 0.5
    made(**views, u=u, s=u)
    made.remember()
    assert made.notes["kept"] == 1 and made.last[7:9].tolist() == [0, 1]


def test_what_was_confident_last_is_remembered_above_tau_whatever_the_threshold():
    made = method([-1, -1, 7, 3, 3, -1], tau=0.9)
    u = seeing.guesses([0.95, 0.6, 0.4, 0.99], [2, 1, 5, 8])
    index = torch.tensor([4, 0, 2, 1])
    made(**seeing.batch(2) | {"u": u, "s": u}, index=index)
    assert made.last.tolist() == [-1, -1, 7, 3, 3, -1]
    made.remember()
    assert made.last.tolist() == [-1, 8, 7, 3, 2, -1], "an image that is no longer sure stays what it was"

"""Temporal ensembling: targets that are averages of what was said, each corrected by its own age."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("temporal_ensembling", "semi")


def said(method, batch):
    """Logits of the labelled images, and probabilities of the unlabelled ones, from one pass of both."""
    both = logits(method.online, torch.cat([batch["x"], batch["u"]]))
    return both[: len(batch["x"])], softmax(both[len(batch["x"]) :])


@pytest.mark.parametrize("n", (2, 3, 17))
def test_four_steps_of_algorithm_2(n):
    """Image by image; not all of them are there in each step, so that ages differ, and some are new beside old ones."""
    method, batch, bank, age = task.method(ENTRY), seen(ENTRY, n), np.zeros((1797, 10)), np.zeros(1797, int)
    method.t = 0.9
    for number, there in enumerate((slice(0, None, 2), slice(None), slice(1, None, 2), slice(0, None, 2))):
        rows = torch.arange(2 * n)[there]
        views = batch | {"u": batch["u"][rows] + number, "index": batch["index"][rows]}
        on_x, p = said(method, views)
        total = 0.0
        for i, row in enumerate(views["index"].tolist()):
            if age[row]:
                total += ((p[i] - bank[row] / (1 - 0.6 ** age[row])) ** 2).mean()
            bank[row], age[row] = 0.6 * bank[row] + 0.4 * p[i], age[row] + 1
        expected = oracle_cross_entropy(on_x, batch["y"].numpy()).mean() + 30 * total / len(rows)
        assert method(**views).item() == pytest.approx(expected, rel=1e-5)
        method.remember()
        with torch.no_grad():
            method.online.head[0].weight.mul_(1.5)
    assert set(age) == {0, 2, 3}
    np.testing.assert_allclose(method.averages.rows, bank, atol=1e-6)
    assert method.averages.counts.tolist() == age.tolist()


def test_an_image_that_was_never_seen_has_no_target():
    """A target of zeros would draw what is said of it to nothing."""
    method, batch = task.method(ENTRY), seen(ENTRY)
    on_x, _ = said(method, batch)
    assert method(**batch).item() == pytest.approx(oracle_cross_entropy(on_x, batch["y"].numpy()).mean(), rel=1e-5)
    assert method.notes["seen"] == 0
    method.remember()
    method(**batch)
    assert method.notes["seen"] == 1


def test_what_is_said_again_differs_in_nothing_whatever_the_age():
    method, batch = task.method(ENTRY), seen(ENTRY)
    for _ in range(4):
        method(**batch)
        assert method.notes["apart"] < 1e-12
        method.remember()


def test_the_target_is_older_than_the_step_and_has_no_gradient():
    method, batch = task.method(ENTRY), seen(ENTRY)
    method(**batch)
    method.remember()
    before = method.averages.means(batch["index"], 0.6)
    method(**batch | {"u": -batch["u"]}).backward()
    assert torch.equal(method.averages.means(batch["index"], 0.6), before) and not before.requires_grad
    assert not method.averages.rows.requires_grad
    method.remember()
    assert not torch.allclose(method.averages.means(batch["index"], 0.6), before, atol=1e-3)


def test_averages_of_probabilities_are_probabilities():
    method, batch = task.method(ENTRY), seen(ENTRY)
    for shift in range(3):
        method(**batch | {"u": batch["u"] + shift})
        method.remember()
    torch.testing.assert_close(method.averages.means(batch["index"], 0.6).sum(1), torch.ones(8))
    assert not method.averages.rows[~torch.isin(torch.arange(1797), batch["index"])].any()


def test_the_weight_rises_on_a_sigmoid_over_the_first_part_of_the_training():
    method, batch, losses = task.method(ENTRY, rise=0.4), seen(ENTRY), {}
    method(**batch)
    method.remember()
    batch["u"] = -batch["u"]
    labels = oracle_cross_entropy(said(method, batch)[0], batch["y"].numpy()).mean()
    for t in (0.0, 0.1, 0.4, 0.9):
        method.t = t
        losses[t] = method(**batch).item() - labels
    assert losses[0.9] > 0.01
    shares = {0.0: np.exp(-5), 0.1: np.exp(-5 * 0.75**2), 0.4: 1, 0.9: 1}
    assert losses == pytest.approx({t: share * losses[0.9] for t, share in shares.items()}, abs=1e-6)


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("last", "u"), ("all", "xu")])
def test_running_statistics_move_in_the_pass_that_the_knob_names(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in name]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)

"""Entropy minimisation: every unlabelled image counts, by how unsure the network is of it."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax, steps
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("entropy_min", "semi")


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("t", (0.0, 0.9))
def test_the_loss_is_that_of_the_labels_and_the_entropy_from_the_first_step(n, t):
    method, batch = task.method(ENTRY, weight=3.0), seen(ENTRY, n)
    method.t, p = t, softmax(logits(method.online, batch["u"]))
    on_labels = oracle_cross_entropy(logits(method.online, batch["x"]), batch["y"].numpy()).mean()
    assert method(**batch).item() == pytest.approx(on_labels - 3 * (p * np.log(p)).sum(1).mean(), rel=1e-5)


def saying(method, on_u):
    """Of ten classes; the labelled images cost nothing."""
    spoken = {2: torch.eye(10)[:2] * 1000, len(on_u): on_u}
    method.online.forward = lambda x: spoken[len(x)]
    return {"x": torch.empty(2, 1), "y": torch.arange(2), "u": torch.empty(len(on_u), 1)}


def test_guessing_costs_ln_k_and_being_sure_nothing_whatever_the_class():
    method = task.method(ENTRY, weight=1.0)
    assert method(**saying(method, torch.zeros(5, 10))).item() == pytest.approx(np.log(10))
    assert method(**saying(method, 1000 * torch.eye(10)[[7, 0, 3]])) < 1e-6


def test_the_gradient_goes_through_both_factors_of_p_log_p():
    """dH/dz_k = -p_k (ln p_k + H); with a p held constant it would be that of a cross-entropy to itself: nothing."""
    method, on_u = task.method(ENTRY, weight=1.0), torch.tensor([[2.0, 1.0] + 8 * [0.0]] * 3, requires_grad=True)
    method(**saying(method, on_u)).backward()
    p = on_u.detach().softmax(1)
    expected = -p * (p.log() - (p * p.log()).sum(1, keepdim=True)) / 3
    torch.testing.assert_close(on_u.grad, expected)


def test_training_makes_the_network_surer():
    doubt = {}
    for weight in (0.0, 1.0):
        method = task.method(ENTRY, weight=weight)
        steps(method, ENTRY, 20, lr=0.2)
        doubt[weight] = method.notes["entropy"].item()
    assert doubt[1.0] < doubt[0.0] - 0.2


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("last", "u"), ("all", "xu")])
def test_running_statistics_move_in_the_pass_that_the_knob_names(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in name]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)

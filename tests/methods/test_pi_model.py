"""The Pi model: two views, one network, and a target without gradient."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("pi_model", "semi")


def apart(method, batch, loss="mse"):
    """Between what is said of both views: the mean over images, and over classes where it is of squares."""
    on_u, on_v = (logits(method.online, batch[view]) for view in "uv")
    if loss == "cross_entropy":
        return oracle_cross_entropy(on_v, softmax(on_u)).mean()
    return ((softmax(on_u) - softmax(on_v)) ** 2).sum() / on_u.size


def on_labels(method, batch):
    return oracle_cross_entropy(logits(method.online, batch["x"]), batch["y"].numpy()).mean()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("loss", ("mse", "cross_entropy"))
def test_the_loss_is_that_of_the_labels_and_the_difference_of_both_views(n, loss):
    method, batch = task.method(ENTRY, loss=loss), seen(ENTRY, n)
    with torch.no_grad():
        method.online.head[0].weight.mul_(5)
    expected = apart(method, batch, loss)
    assert method(**batch).item() == pytest.approx(on_labels(method, batch) + 10 * expected, rel=1e-5)
    assert method.notes["apart"].item() == pytest.approx(expected, rel=1e-4) and expected > 1e-3


def test_one_view_twice_differs_in_nothing():
    method, batch = task.method(ENTRY), seen(ENTRY)
    method(**batch | {"v": batch["u"]})
    assert method.notes["apart"] == 0


@pytest.mark.parametrize("loss", ("mse", "cross_entropy"))
def test_the_first_view_is_a_target_and_the_second_learns(loss):
    method = task.method(ENTRY, loss=loss)
    draw = torch.Generator().manual_seed(0)
    u, v = (torch.randn(5, 3, generator=draw).requires_grad_() for _ in "uv")
    turn = iter([torch.zeros(2, 3), u, v])
    method.online.forward = lambda x: next(turn)
    method(
        x=torch.empty(2, 1), y=torch.zeros(2, dtype=torch.int64), u=torch.empty(5, 1), v=torch.empty(5, 1)
    ).backward()
    p, q = u.detach().softmax(1), v.detach().softmax(1)
    slope = 2 * (q - p) / 3
    slope = q * (slope - (slope * q).sum(1, keepdim=True)) if loss == "mse" else q - p
    assert u.grad is None
    torch.testing.assert_close(v.grad, 10 * slope / 5)


def test_the_weight_rises_on_a_sigmoid_over_the_first_part_of_the_training():
    method, batch, losses = task.method(ENTRY, weight=20.0), seen(ENTRY), {}
    for t in (0.0, 0.1, 0.4, 0.9):
        method.t = t
        losses[t] = method(**batch).item()
    rises, labels = apart(method, batch), on_labels(method, batch)
    shares = {0.0: np.exp(-5), 0.1: np.exp(-5 * 0.75**2), 0.4: 1, 0.9: 1}
    expected = {t: labels + 20 * share * rises for t, share in shares.items()}
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("last", "v"), ("all", "xuv")])
def test_running_statistics_move_in_the_pass_that_the_knob_names(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in name]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)

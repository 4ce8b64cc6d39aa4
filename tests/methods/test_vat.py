"""Virtual adversarial training: the loss around the change that `tests/nets/test_virtual_adversary.py` is about."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("vat", "semi")


def parts(method, batch):
    """Of the labels, KL(p(u) || p(u + r)), and the entropy of p(u), in float64."""
    r = method.adversary(method.online, batch["u"])
    on_x, p, q = (
        logits(method.online, batch["x"]),
        *(softmax(logits(method.online, z)) for z in (batch["u"], batch["u"] + r)),
    )
    labels = oracle_cross_entropy(on_x, batch["y"].numpy()).mean()
    return labels, (p * np.log(p / q)).sum(1).mean(), -(p * np.log(p)).sum(1).mean()


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_the_formula(n):
    method, batch = task.method(ENTRY, weight=3.0, entropy=0.7), seen(ENTRY, n)
    with torch.no_grad():
        method.online.head[0].weight.mul_(3)
    labels, moved, doubt = parts(method, batch)
    assert moved > 0.01
    assert method(**batch).item() == pytest.approx(labels + 3 * moved + 0.7 * doubt, rel=1e-4)
    assert method.notes["moved"].item() == pytest.approx(moved, rel=1e-3)


def saying(method, spoken):
    """The network says these logits, pass by pass: of x, of u, and of u + r."""
    turn = iter(spoken)
    method.online.forward = lambda x: next(turn)
    method.adversary.forward = lambda net, x: torch.zeros_like(x)
    return {"x": torch.empty(2, 1), "y": torch.zeros(2, dtype=torch.int64), "u": torch.empty(5, 1)}


def test_the_gradient_goes_through_what_is_said_of_the_changed_image_alone():
    """KL(p || q): p is the target, so that the gradient is q - p; the two the other way round would give another."""
    method, draw = task.method(ENTRY, weight=1.0, entropy=0.0), torch.Generator().manual_seed(0)
    u, changed = (torch.randn(5, 3, generator=draw).requires_grad_() for _ in "pq")
    method(**saying(method, (torch.zeros(2, 3), u, changed))).backward()
    assert u.grad is None or not u.grad.any()
    torch.testing.assert_close(changed.grad, (changed.detach().softmax(1) - u.detach().softmax(1)) / 5)


def test_a_change_that_nothing_is_made_of_costs_the_entropy_alone():
    method, u = task.method(ENTRY, weight=5.0), torch.zeros(5, 4)
    loss = method(**saying(method, (torch.tensor([[99.0, 0, 0, 0]] * 2), u, u)))
    assert method.notes["moved"].abs() < 1e-6
    assert loss.item() == pytest.approx(0.06 * np.log(4), rel=1e-5)


def test_the_weight_rises_and_that_of_the_entropy_does_not():
    method, batch, losses = task.method(ENTRY, weight=2.0), seen(ENTRY), {}
    for t in (0.0, 0.1, 0.4, 0.9):
        method.t = t
        losses[t] = method(**batch).item()
    labels, moved, doubt = parts(method, batch)
    expected = {
        t: labels + 2 * share * moved + 0.06 * doubt for t, share in ((0.0, 0), (0.1, 0.25), (0.4, 1), (0.9, 1))
    }
    assert losses == pytest.approx(expected, rel=1e-4)


def test_each_step_starts_from_another_direction():
    method, batch = task.method(ENTRY), seen(ENTRY)
    first = method.adversary(method.online, batch["u"])
    method(**batch)
    assert torch.equal(method.adversary(method.online, batch["u"]), first)
    method.remember()
    assert not torch.allclose(method.adversary(method.online, batch["u"]), first, atol=1e-3)


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("last", "u"), ("all", "xu")])
def test_running_statistics_move_in_the_pass_that_the_knob_names_and_never_by_changed_images(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in name]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)

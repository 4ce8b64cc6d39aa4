"""Mean Teacher: a target from another network, on another view, that no gradient reaches."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax, steps
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("mean_teacher", "semi")


def trained(count=4, **knobs):
    """A method whose teacher is no longer its student."""
    method = task.method(ENTRY, ema=0.9, **knobs)
    steps(method, ENTRY, count, lr=0.3)
    return method


def apart(method, batch, loss="mse"):
    student, teacher = logits(method.online, batch["u"]), logits(method.target.net, batch["v"])
    if loss == "cross_entropy":
        return oracle_cross_entropy(student, softmax(teacher)).mean()
    return ((softmax(student) - softmax(teacher)) ** 2).sum() / student.size


def on_labels(method, batch):
    return oracle_cross_entropy(logits(method.online, batch["x"]), batch["y"].numpy()).mean()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("loss", ("mse", "cross_entropy"))
def test_the_loss_is_that_of_the_labels_and_the_difference_from_the_teacher(n, loss):
    method, batch = trained(loss=loss), seen(ENTRY, n)
    expected = apart(method, batch, loss)
    assert method(**batch).item() == pytest.approx(on_labels(method, batch) + 50 * expected, rel=1e-4)
    assert method.notes["apart"].item() == pytest.approx(expected, rel=1e-4)


def test_the_difference_is_there_for_two_views_and_for_two_networks_and_gone_for_the_same():
    """One library compared the student with itself for years: its loss was 0 whatever the views."""
    batch, fresh, later = seen(ENTRY), task.method(ENTRY), trained()
    same = batch | {"v": batch["u"]}
    for method, views, differs in (
        (fresh, same, False),
        (fresh, batch, True),
        (later, same, True),
        (later, batch, True),
    ):
        method(**views)
        assert (method.notes["apart"] > 1e-5) == differs
        assert method.notes["apart"].isfinite()


def test_no_gradient_reaches_the_teacher_or_its_view():
    method, batch = trained(), seen(ENTRY)
    views = {name: value.clone().requires_grad_(name in "uv") for name, value in batch.items()}
    method(**views).backward()
    assert views["u"].grad.any() and views["v"].grad is None
    assert all(parameter.grad is None for parameter in method.target.parameters())
    assert all(parameter.grad.any() for parameter in method.online.parameters())


def test_under_autocast_too_the_teacher_is_another_network_than_the_student():
    """Weights swapped into one network are not seen there: the cache of casts still holds the student's."""
    method, batch = trained(), seen(ENTRY)
    with torch.autocast("cpu", torch.bfloat16):
        method(**batch | {"v": batch["u"]})
    assert method.notes["apart"].item() == pytest.approx(apart(method, batch | {"v": batch["u"]}), rel=0.2)
    assert method.notes["apart"] > 1e-5


def test_the_teacher_normalises_by_its_batch_and_has_noise_of_its_own():
    method, batch = task.method(ENTRY), seen(ENTRY)
    assert all(module.training for module in method.target.modules())
    method(**batch | {"v": batch["u"]})
    assert method.notes["apart"] == 0, "statistics of the batch, as the student's"
    for branch in (method.online, method.target.net):
        branch.encoder.drop = nn.Dropout(0.5)
    method(**batch | {"v": batch["u"]})
    assert method.notes["apart"] > 1e-4


def test_the_weight_rises_on_a_sigmoid_over_the_first_part_of_the_training():
    method, batch, losses = task.method(ENTRY, weight=20.0), seen(ENTRY), {}
    for t in (0.0, 0.1, 0.4, 0.9):
        method.t = t
        losses[t] = method(**batch).item()
    rises, labels = apart(method, batch), on_labels(method, batch)
    shares = {0.0: np.exp(-5), 0.1: np.exp(-5 * 0.75**2), 0.4: 1, 0.9: 1}
    expected = {t: labels + 20 * share * rises for t, share in shares.items()}
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("last", "u"), ("all", "xu")])
def test_running_statistics_move_in_the_pass_that_the_knob_names_and_the_teacher_follows_them(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in name]))
    mean, moved = running_mean(method, batch)
    theirs = method.target.net.encoder.net.bn1
    assert moved == 1 and theirs.num_batches_tracked == 0 and not theirs.running_mean.any()
    torch.testing.assert_close(mean, expected)
    method.remember()
    torch.testing.assert_close(theirs.running_mean, expected)


def test_the_teacher_is_what_is_learned_and_starts_as_a_plain_mean():
    method, heads = task.method(ENTRY, ema=0.9), []
    assert method.learned is method.target.net
    method.target.follow = lambda online, m: heads.append(m)
    for updates in (0, 1, 3, 9, 99):
        method.target.updates.fill_(updates)
        method(**seen(ENTRY))
        method.remember()
    np.testing.assert_allclose(heads, [0, 0.5, 0.75, 0.9, 0.9])

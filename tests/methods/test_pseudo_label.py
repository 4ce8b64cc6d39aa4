"""Pseudo-labels: which images count, how much, and in whose mean."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("pseudo_label", "semi")


def oracle(method, batch, tau):
    """Of the labelled images, of the unlabelled ones, and how many of these are sure."""
    on_x, on_u = logits(method.online, batch["x"]), logits(method.online, batch["u"])
    total, sure = 0.0, 0
    for row in on_u:
        p = softmax(row[None])[0]
        if p.max() >= tau:
            total, sure = total - np.log(p[p.argmax()]), sure + 1
    return oracle_cross_entropy(on_x, batch["y"].numpy()).mean(), total / len(on_u), sure


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("share", (0.0, 0.5, 1.0))
def test_the_loss_is_a_mean_over_all_images_sure_or_not(n, share):
    method, batch = task.method(ENTRY, weight=3.0), seen(ENTRY, n)
    confidence = np.sort(softmax(logits(method.online, batch["u"])).max(1))
    method.tau = [*confidence - 1e-6, 1.0][round((1 - share) * 2 * n)]
    on_labels, on_pseudo, sure = oracle(method, batch, method.tau)
    assert sure == share * 2 * n
    assert method(**batch).item() == pytest.approx(on_labels + 3 * on_pseudo, rel=1e-5)
    assert method.notes["kept"].item() == pytest.approx(share)


def saying(method, on_x, on_u):
    """The network says these logits, of the labelled and of the unlabelled images."""
    spoken = {len(on_x): on_x, len(on_u): on_u}
    method.online.forward = lambda x: spoken[len(x)]
    return {
        "x": torch.empty(len(on_x), 1),
        "y": torch.zeros(len(on_x), dtype=torch.int64),
        "u": torch.empty(len(on_u), 1),
    }


def test_an_image_exactly_at_the_threshold_counts():
    method = task.method(ENTRY, tau=0.5)
    method(**saying(method, torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])))
    assert method.notes["kept"] == 1
    method.tau = 0.5 + 2**-23
    method(**saying(method, torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])))
    assert method.notes["kept"].item() == pytest.approx(2 / 3)


def test_confidence_is_of_fp32_where_the_network_computes_in_half_precision():
    method, on_u = task.method(ENTRY), torch.tensor([[2.953125, 0.0]]).bfloat16()
    assert on_u.float().softmax(1).max() > 0.95 and not on_u.softmax(1).max() > 0.95
    method(**saying(method, torch.zeros(2, 2), on_u.expand(3, 2)))
    assert method.notes["kept"] == 1


def test_a_network_that_is_sure_and_right_pays_nothing_and_one_that_guesses_the_labels_alone():
    method = task.method(ENTRY)
    assert method(**saying(method, torch.eye(10)[[0, 0]] * 50, torch.eye(10)[:5] * 50)) < 1e-6
    assert method(**saying(method, torch.zeros(2, 10), torch.zeros(5, 10))).item() == pytest.approx(np.log(10))


def test_the_weight_rises_over_the_first_part_of_the_training():
    method, batch, losses = task.method(ENTRY, tau=0.0, weight=2.0, rise=0.4), seen(ENTRY), {}
    for t in (0.0, 0.1, 0.4, 0.9):
        method.t = t
        losses[t] = method(**batch).item()
    on_labels, on_pseudo, _ = oracle(method, batch, 0.0)
    expected = {t: on_labels + 2 * share * on_pseudo for t, share in ((0.0, 0), (0.1, 0.25), (0.4, 1), (0.9, 1))}
    assert losses == pytest.approx(expected, rel=1e-5)


def test_only_sure_images_teach():
    method, on_u = task.method(ENTRY), torch.tensor([[4.0, 0.0], [1.0, 0.0]], requires_grad=True)
    batch = saying(method, torch.zeros(3, 2), on_u)
    method(**batch).backward()
    p = on_u.detach()[0].softmax(0)
    torch.testing.assert_close(on_u.grad, torch.stack([(p - torch.tensor([1.0, 0.0])) / 2, torch.zeros(2)]))


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("first", "x"), ("last", "u"), ("all", "xu")])
def test_running_statistics_move_in_the_pass_that_the_knob_names(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in name]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)
    assert method.target.net.encoder.net.bn1.num_batches_tracked == 0

"""SimCLRv2's distillation: soft labels at a temperature, with the labels or without."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("simclr_v2_distill", "distill")
K = 10


def taught(n=4, ratio=3):
    batch = seen(ENTRY, n, ratio)
    return batch | {"teacher": 3 * torch.randn(ratio * n, K, generator=torch.Generator().manual_seed(n))}


def soft(on_u, teacher, temperature):
    """-sum_k P_T(k; T) log P_S(k; T), the mean over images."""
    p_teacher, p_student = (softmax(z / temperature) for z in (teacher.double().numpy(), on_u))
    return -(p_teacher * np.log(p_student)).sum(1).mean()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("temperature", (0.1, 1.0, 4.0))
def test_without_labels_the_loss_is_the_formula(n, temperature):
    method, batch = task.method(ENTRY, temperature=temperature), taught(n)
    on_u = logits(method.online, batch["u"])
    assert method(**batch).item() == pytest.approx(soft(on_u, batch["teacher"], temperature), rel=1e-5)


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("alpha", (0.0, 0.3, 0.8))
def test_with_labels_the_two_terms_are_weighed(n, alpha):
    """(1 - alpha) of the labels and alpha of the teacher: each a mean over its own images, whatever the ratio."""
    method, batch = task.method(ENTRY, alpha=alpha, temperature=2.0), taught(n)
    on_x, on_u = np.split(logits(method.online, torch.cat([batch["x"], batch["u"]])), [n])
    hard = oracle_cross_entropy(on_x, batch["y"].numpy()).mean()
    expected = (1 - alpha) * hard + alpha * soft(on_u, batch["teacher"], 2.0)
    assert method(**batch).item() == pytest.approx(expected, rel=1e-5)


def test_without_labels_nothing_of_the_labelled_images_is_seen():
    """Neither their classes, nor what BatchNorm would make of them: one pass, over the unlabelled images."""
    batch = taught()
    other = batch | {"x": batch["x"] + 5, "y": (batch["y"] + 1) % K}
    loss = {alpha: [task.method(ENTRY, alpha=alpha)(**each).item() for each in (batch, other)] for alpha in (1.0, 0.9)}
    assert loss[1.0][0] == loss[1.0][1] and loss[0.9][0] != loss[0.9][1]
    method = task.method(ENTRY)
    expected = running_mean_of(method, batch["u"])
    mean, passes = running_mean(method, batch)
    torch.testing.assert_close(mean, expected)
    assert passes == 1


def saying(on_u, teacher, **knobs):
    """The gradient of the student's logits, by image; no network."""
    method, on_u = task.method(ENTRY, **knobs), on_u.clone().requires_grad_()
    method.online = nn.Identity()
    method(x=torch.zeros(1, K), y=torch.zeros(1, dtype=torch.int64), u=on_u, teacher=teacher).backward()
    return on_u.grad * len(on_u)


def test_the_temperature_is_of_both_and_its_gradient_is_not_scaled():
    """(p_student - p_teacher) / T, where T^2 as in other losses of distillation would give T of it."""
    draw = torch.Generator().manual_seed(0)
    on_u, teacher = torch.randn(5, K, generator=draw), 3 * torch.randn(5, K, generator=draw)
    for temperature in (0.5, 1.0, 4.0):
        apart = (on_u / temperature).softmax(1) - (teacher / temperature).softmax(1)
        torch.testing.assert_close(saying(on_u, teacher, temperature=temperature), apart / temperature)
    assert not saying(teacher, teacher, temperature=4.0).abs().max() > 1e-7, (
        "a student that agrees has nothing to learn"
    )

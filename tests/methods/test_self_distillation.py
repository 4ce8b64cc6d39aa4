"""Self-distillation: the loss of Tf-KD self, with its T^2 and its mean over classes."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("self_distillation", "distill")
K = 10


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize(
    "knobs", [{}, {"alpha": 0.95, "temperature": 20.0, "multiplier": 1.0}, {"alpha": 0.6, "temperature": 0.5}], ids=str
)
def test_the_loss_is_the_formula(n, knobs):
    method, batch = task.method(ENTRY, **knobs), seen(ENTRY, n, ratio=3)
    batch["teacher"] = 3 * torch.randn(3 * n, K, generator=torch.Generator().manual_seed(n))
    on_x, on_u = np.split(logits(method.online, torch.cat([batch["x"], batch["u"]])), [n])
    t = method.temperature
    q, p = softmax(batch["teacher"].double().numpy() / t), softmax(on_u / t)
    soft = method.multiplier * t**2 * (q * np.log(q / p)).mean()
    hard = oracle_cross_entropy(on_x, batch["y"].numpy()).mean()
    assert method(**batch).item() == pytest.approx((1 - method.alpha) * hard + method.alpha * soft, rel=1e-5)


def saying(on_x, y, on_u, teacher, **knobs):
    """The loss, and the gradients of both kinds of logits, by image; no network."""
    method = task.method(ENTRY, **knobs)
    method.online, method.classes = nn.Identity(), on_u.shape[1]
    on_x, on_u = on_x.clone().requires_grad_(), on_u.clone().requires_grad_()
    loss = method(x=on_x, y=torch.as_tensor(y), u=on_u, teacher=teacher)
    loss.backward()
    return loss.item(), on_x.grad * len(on_x), on_u.grad * len(on_u)


@pytest.mark.parametrize("classes", (2, 10, 100))
def test_the_gradient_of_the_soft_labels_is_t_times_the_difference_over_classes(classes):
    draw = torch.Generator().manual_seed(classes)
    on_u, teacher = (3 * torch.randn(5, classes, generator=draw) for _ in range(2))
    for t in (1.0, 4.0, 20.0):
        apart = (on_u / t).softmax(1) - (teacher / t).softmax(1)
        for multiplier in (1.0, float(classes)):
            knobs = {"alpha": 1.0, "temperature": t, "multiplier": multiplier}
            _, on_labels, gradient = saying(torch.zeros(1, classes), [0], on_u, teacher, **knobs)
            torch.testing.assert_close(gradient, multiplier / classes * t * apart, atol=1e-5, rtol=1e-4)
            assert not on_labels.any()


def test_t_squared_keeps_the_balance_of_the_two_terms_at_high_temperatures():
    """The soft gradient goes to (z - v) / K of centred logits, times the mean over K classes: T drops out."""
    draw = torch.Generator().manual_seed(0)
    on_u, teacher = (torch.randn(5, K, generator=draw) for _ in range(2))
    centred = (on_u - on_u.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    for t in (200.0, 400.0):
        knobs = {"alpha": 1.0, "temperature": t, "multiplier": float(K)}
        _, _, gradient = saying(torch.zeros(1, K), [0], on_u, teacher, **knobs)
        torch.testing.assert_close(gradient, centred / K, atol=3e-3, rtol=0)


def test_a_student_that_agrees_learns_of_the_labels_alone():
    draw = torch.Generator().manual_seed(0)
    on_x, teacher = torch.randn(3, K, generator=draw), torch.randn(5, K, generator=draw)
    loss, on_labels, on_teacher = saying(on_x, [0, 1, 2], teacher, teacher, alpha=0.6)
    assert loss == pytest.approx(0.4 * oracle_cross_entropy(on_x.double().numpy(), np.arange(3)).mean(), rel=1e-4)
    torch.testing.assert_close(on_labels, 0.4 * (on_x.softmax(1) - torch.eye(K)[:3]), atol=1e-6, rtol=1e-5)
    assert on_teacher.abs().max() < 1e-4

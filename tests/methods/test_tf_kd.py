"""Tf-KD's virtual teacher: its probabilities are tempered as logits are, and the mean is over images and classes."""

from math import exp, log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.losses import cross_entropy, entropy
from tests.contract import small_task as task
from tests.semi import logits, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("tf_kd", "distill")
K = 10


def virtual(y, correct, temperature):
    """The authors' teacher, of softened probabilities."""
    p = np.full((len(y), K), (1 - correct) / (K - 1))
    p[np.arange(len(y)), y] = correct
    return softmax(p / temperature)


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize(
    "knobs",
    [{}, {"alpha": 0.95, "temperature": 40.0, "multiplier": 1.0}, {"alpha": 1.0, "correct": 0.9, "temperature": 0.5}],
    ids=str,
)
def test_the_loss_is_the_formula(n, knobs):
    method, batch = task.method(ENTRY, **knobs), seen(ENTRY, n)
    on_x, y = logits(method.online, batch["x"]), batch["y"].numpy()
    q, p = virtual(y, method.correct, method.temperature), softmax(on_x)
    soft = (q * np.log(q / p)).mean()
    expected = (1 - method.alpha) * oracle_cross_entropy(on_x, y).mean() + method.alpha * method.multiplier * soft
    assert method(**batch).item() == pytest.approx(expected, rel=1e-5)


def saying(on_x, y, **knobs):
    """A method whose network says these logits, and the gradient of each image's."""
    method, on_x = task.method(ENTRY, **knobs), on_x.clone().requires_grad_()
    method.online, method.classes = nn.Identity(), on_x.shape[1]
    loss = method(x=on_x, y=torch.as_tensor(y))
    loss.backward()
    return loss.item(), on_x.grad * len(on_x)


def test_the_teacher_is_nearly_uniform_for_its_probabilities_are_tempered_and_not_their_logarithms():
    """.99 of ten classes at 20: e^.0495 to e^.00006. Tempered logarithms would leave the class .135."""
    right = exp(0.99 / 20) / (exp(0.99 / 20) + 9 * exp(0.01 / 9 / 20))
    assert right == pytest.approx(0.1045, abs=1e-4)
    agreeing = torch.full((1, K), (1 - right) / 9).index_fill(1, torch.tensor([3]), right).log()
    loss, gradient = saying(agreeing, [3], alpha=1.0)
    assert loss == pytest.approx(0, abs=1e-6) and gradient.abs().max() < 1e-6


@pytest.mark.parametrize("classes", (2, 10, 100))
def test_the_mean_is_over_classes_too_and_the_multiplier_undoes_it(classes):
    """Neither a temperature of the student nor a T^2: the gradient is p - q, over the classes."""
    draw = torch.Generator().manual_seed(classes)
    on_x, y = torch.randn(5, classes, generator=draw), torch.randint(classes, (5,), generator=draw)
    wrong = 0.01 / (classes - 1)
    q = torch.full((5, classes), wrong).scatter(1, y[:, None], 0.99).div(20).softmax(1)
    for multiplier, share in ((1.0, 1 / classes), (float(classes), 1.0)):
        _, gradient = saying(on_x, y, alpha=1.0, multiplier=multiplier)
        torch.testing.assert_close(gradient, share * (on_x.softmax(1) - q), atol=1e-6, rtol=1e-4)


def test_label_smoothing_is_a_virtual_teacher():
    """The paper's point: certain of the class, at 1 / ln(1 + K (1 - s) / s), it says what smoothing by s does."""
    draw = torch.Generator().manual_seed(0)
    on_x, y, s = torch.randn(7, K, generator=draw), torch.arange(7), 0.1
    loss, _ = saying(on_x, y, alpha=1.0, correct=1.0, temperature=1 / log(1 + K * (1 - s) / s), multiplier=float(K))
    smooth = (1 - s) * torch.eye(K)[:1] + s / K
    assert loss == pytest.approx((cross_entropy(on_x, y, s).mean() - entropy(smooth.log())).item(), rel=1e-5)


def test_without_the_teacher_it_is_supervised():
    loss, _ = saying(on_x := torch.randn(4, K), [1, 2, 3, 4], alpha=0.0)
    assert loss == pytest.approx(cross_entropy(on_x, torch.tensor([1, 2, 3, 4])).mean().item(), rel=1e-6)

"""Joint training: the pseudo-labels' loss on the scale of the labels', by the running means of both."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, seen
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("joint_training", "distill")
K = 10


def taught(n=4, ratio=3):
    batch = seen(ENTRY, n, ratio)
    return batch | {"teacher": 3 * torch.randn(ratio * n, K, generator=torch.Generator().manual_seed(n))}


def both(method, batch):
    """The means of the two losses in float64: of the labels, and of the best class of the teacher."""
    n = len(batch["x"])
    on_x, on_u = np.split(logits(method.online, torch.cat([batch["x"], batch["u"]])), [n])
    guess = batch["teacher"].numpy().argmax(1)
    return oracle_cross_entropy(on_x, batch["y"].numpy()).mean(), oracle_cross_entropy(on_u, guess).mean()


def advance(method, loss, lr=0.5):
    loss.backward()
    with torch.no_grad():
        for parameter in method.online.parameters():
            parameter -= lr * parameter.grad
            parameter.grad = None
    method.remember()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("alpha", (0.0, 0.25, 2.0))
def test_the_loss_is_the_formula_step_by_step(n, alpha):
    """Plain means of three steps, then momentum .7; the scale of each step has its own batch in it."""
    method, past = task.method(ENTRY, alpha=alpha, m=0.7), []
    for step in range(6):
        batch = taught(n + step)
        past.append(both(method, batch))
        human, pseudo = past[0]
        for t, (h, p) in enumerate(past[1:], 1):
            m = min(t / (t + 1), 0.7)
            human, pseudo = m * human + (1 - m) * h, m * pseudo + (1 - m) * p
        expected = (past[-1][0] + alpha * human / pseudo * past[-1][1]) / (1 + alpha)
        loss = method(**batch)
        assert loss.item() == pytest.approx(expected, rel=1e-4)
        assert method.notes["scale"].item() == pytest.approx(human / pseudo, rel=1e-4)
        advance(method, loss)
        assert method.means.tolist() == pytest.approx([human, pseudo], rel=1e-4)


def saying(on_x, y, on_u, teacher, means=(0.0, 0.0), updates=0, **knobs):
    """The loss of these logits, with what was remembered so far, and the gradients of both, by image."""
    method = task.method(ENTRY, **knobs)
    method.online = nn.Identity()
    method.means.copy_(torch.tensor(means))
    method.target.updates.fill_(updates)
    on_x, on_u = on_x.clone().requires_grad_(), on_u.clone().requires_grad_()
    loss = method(x=on_x, y=torch.as_tensor(y), u=on_u, teacher=teacher)
    loss.backward()
    return loss.item(), on_x.grad * len(on_x), on_u.grad * len(on_u)


DRAW = torch.Generator().manual_seed(0)
ON_X, ON_U, TEACHER = (torch.randn(rows, K, generator=DRAW) for rows in (3, 8, 8))
BEST = TEACHER.argmax(1)


@pytest.mark.parametrize("alpha", (0.25, 1.0, 4.0))
@pytest.mark.parametrize("strength", (0.1, 1.0, 30.0))
def test_both_losses_come_to_be_of_one_scale_whatever_that_of_the_pseudo_labels_was(alpha, strength):
    """At first the means are of this batch: the two are equal, and their weighed mean is the loss of the labels."""
    human = oracle_cross_entropy(ON_X.double().numpy(), np.arange(3)).mean()
    assert saying(ON_X, [0, 1, 2], strength * ON_U, TEACHER, alpha=alpha)[0] == pytest.approx(human, rel=1e-5)


@pytest.mark.parametrize(("means", "updates"), (((0.0, 0.0), 0), ((3.0, 1.0), 10**6)))
def test_the_scale_is_a_number_and_no_gradient_flows_through_it(means, updates):
    """Neither where it is of this batch alone, nor where it was 3 for so long that one batch does not matter."""
    human, pseudo = (
        oracle_cross_entropy(z.double().numpy(), y).mean() for z, y in ((ON_X, np.arange(3)), (ON_U, BEST))
    )
    _, on_labels, on_pseudo = saying(ON_X, [0, 1, 2], ON_U, TEACHER, means, updates, alpha=2.0, m=1.0)
    scale = means[0] if updates else human / pseudo
    torch.testing.assert_close(on_labels, (ON_X.softmax(1) - torch.eye(K)[:3]) / 3)
    torch.testing.assert_close(on_pseudo, 2 / 3 * scale * (ON_U.softmax(1) - torch.eye(K)[BEST]))


def test_the_teacher_is_asked_for_its_best_class_alone():
    _, _, gradient = saying(ON_X, [0, 1, 2], ON_U, TEACHER)
    assert torch.equal(saying(ON_X, [0, 1, 2], ON_U, 5 * TEACHER + 1)[2], gradient)
    assert not torch.equal(saying(ON_X, [0, 1, 2], ON_U, TEACHER.roll(1, 1))[2], gradient)


def test_pseudo_labels_that_are_learned_by_heart_do_not_divide_by_zero():
    sure = 1000 * torch.eye(K)[BEST]
    loss, _, gradient = saying(ON_X, [0, 1, 2], sure, TEACHER)
    assert np.isfinite(loss) and not gradient.any()

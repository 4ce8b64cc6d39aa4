"""UDA: sharpened targets from weak views, and labelled images that are left out once they are learned."""

from math import e, log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("uda", "semi")
K = 10


def oracle(method, batch, tau, temperature, eta):
    """(of the labelled images, of the unlabelled ones): cross-entropy, and KL(sharpened || strong)."""
    views = [batch[name] for name in "xus"]
    z = logits(method.online, torch.cat(views))
    on_x, on_u, on_s = np.split(z, np.cumsum([len(view) for view in views])[:-1])
    y = batch["y"].numpy()
    left = softmax(on_x)[np.arange(len(y)), y] <= eta
    supervised = oracle_cross_entropy(on_x, y)[left].sum() / max(1, left.sum())
    total = 0.0
    for weak, strong in zip(softmax(on_u), softmax(on_s), strict=True):
        if weak.max() >= tau:
            p = weak ** (1 / temperature) / (weak ** (1 / temperature)).sum()
            total += (p * np.log(p / strong)).sum()
    return supervised, total / len(on_u)


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("tsa", ("none", "linear"))
def test_the_loss_is_the_formula(n, tsa):
    method, batch = task.method(ENTRY, weight=3.0, tsa=tsa), seen(ENTRY, n, ratio=3)
    z = softmax(logits(method.online, torch.cat([batch[name] for name in "xus"])))
    method.tau = z[n : 4 * n].max(1).mean()
    batch["y"] = torch.from_numpy(z[:n].argsort(1)[:, -2])  # the second best: some above a tenth, some below
    method.t = (np.median(z[np.arange(n), batch["y"]]) + 1e-6 - 1 / K) / (1 - 1 / K)
    eta = 1 if tsa == "none" else 1 / K + method.t * (1 - 1 / K)
    supervised, consistent = oracle(method, batch, method.tau, 0.4, eta)
    assert method(**batch).item() == pytest.approx(supervised + 3 * consistent, rel=1e-5)
    assert 0 < method.notes["kept"] < 1 and (method.notes["unlearned"] < 1) == (tsa == "linear")


def saying(on_x, y, on_u, on_s, t=0.5, **knobs):
    """A method whose network says these logits of K classes, and its loss."""
    method = task.method(ENTRY, **knobs)
    method.online, method.t, method.classes = nn.Identity(), t, on_x.shape[1]
    return method, method(x=on_x, y=torch.as_tensor(y), u=on_u, s=on_s)


def of(*p):
    """Logits of these probabilities."""
    return torch.tensor(p).log()


NOTHING = torch.zeros(2, 3)
"""of unlabelled images: below the threshold"""


def test_targets_are_sharpened_and_what_is_sharpened_agrees_at_no_cost():
    """USB's UDA never sharpens: [.6, .3, .1] at .4 is [.842, .149, .010]."""
    weak, sharp = of([0.6, 0.3, 0.1]), of([0.84167, 0.14879, 0.00954])
    assert saying(0 * weak, [0], weak, sharp, tau=0.5, weight=100.0)[1].item() == pytest.approx(log(3), abs=1e-5)
    on_s, knobs = weak.clone().requires_grad_(), {"tau": 0.5, "weight": 2.0}
    saying(0 * weak, [0], weak, on_s, **knobs)[1].backward()
    torch.testing.assert_close(on_s.grad, 2 * (weak.exp() - sharp.exp()), atol=1e-5, rtol=0)


def test_to_reach_the_threshold_is_enough_before_sharpening():
    weak = of([0.5, 0.5], [0.79, 0.21], [0.85, 0.15], [0.6, 0.4])  # sharpened: .5, .965, .987, .734
    for tau, kept in ((0.5, 1.0), (0.5001, 0.75), (0.8, 0.25), (0.7, 0.5)):
        assert saying(of([0.5, 0.5]), [0], weak, weak, tau=tau)[0].notes["kept"] == kept
    assert task.method(ENTRY).tau == 0.8


def test_only_the_strong_views_learn_from_the_weak_ones_and_all_images_are_in_the_mean():
    weak, strong = of([0.9, 0.1], [0.6, 0.4]).requires_grad_(), of([0.5, 0.5], [0.2, 0.8]).requires_grad_()
    saying(torch.zeros(1, 2), [0], weak, strong)[1].backward()
    assert weak.grad is None or not weak.grad.any()
    assert not strong.grad[1].any()
    sharp = 0.9**2.5 / (0.9**2.5 + 0.1**2.5)
    torch.testing.assert_close(strong.grad[0], torch.tensor([0.5 - sharp, sharp - 0.5]) / 2)


def test_annealing_asks_for_the_own_class_and_not_for_the_best():
    """TorchSSL and USB compare the largest probability: a confident mistake would count as learned."""
    learned, mistake, unsure = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]
    on_x = of(learned, mistake, unsure).requires_grad_()
    method, loss = saying(on_x, [0, 0, 0], NOTHING, NOTHING, tsa="linear")  # eta = 1/3 + 1/2 * 2/3 = .667
    assert method.notes["unlearned"].item() == pytest.approx(2 / 3)
    assert loss.item() == pytest.approx(-(log(0.1) + log(0.4)) / 2, rel=1e-5)
    loss.backward()
    assert not on_x.grad[0].any() and on_x.grad[1].any()


@pytest.mark.parametrize(
    "tsa, share",
    [
        ("none", lambda t: 1),
        ("linear", lambda t: t),
        ("log", lambda t: 1 - e ** (-5 * t)),
        ("exp", lambda t: e ** (5 * t - 5)),
    ],
)
@pytest.mark.parametrize("t", (0.0, 0.3, 0.9))
def test_the_threshold_rises_from_one_of_k_as_the_schedule_says(tsa, share, t):
    eta = share(t) * (1 - 1 / 4) + 1 / 4
    for p, kept in ((eta - 1e-3, 1.0), (min(eta + 1e-3, 1.0), float(tsa == "none"))):
        on_x = of([p, *[(1 - p) / 3] * 3])
        method, loss = saying(on_x, [0], torch.zeros(1, 4), torch.zeros(1, 4), t=t, tsa=tsa)
        assert method.notes["unlearned"] == kept
        assert loss.item() == pytest.approx(-log(p) * kept, abs=1e-5)


def test_where_every_image_is_learned_labels_teach_nothing():
    on_x = (20 * torch.eye(3)).requires_grad_()
    _, loss = saying(on_x, [0, 1, 2], NOTHING, NOTHING, tsa="exp")
    loss.backward()
    assert loss == 0 and not on_x.grad.any()


@pytest.mark.parametrize("update, views", [("all", "xus"), ("labelled", "x"), ("last", "s")])
def test_running_statistics_move_in_the_pass_that_the_knob_names(update, views):
    method, batch = task.method(ENTRY, **{} if update == "all" else {"bn_update": update}), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in views]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)

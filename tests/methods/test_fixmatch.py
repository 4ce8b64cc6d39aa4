"""FixMatch: weak views label strong ones, where they are sure."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.views.recipes import WEAK
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("fixmatch", "semi")


def oracle(method, batch, tau, temperature=None):
    """(of the labelled images, of the unlabelled ones, share of the sure ones); no temperature: hard labels."""
    views = [batch[name] for name in "xus"]
    z = logits(method.online, torch.cat(views))
    on_x, on_u, on_s = np.split(z, np.cumsum([len(view) for view in views])[:-1])
    total, sure = 0.0, 0
    for weak, strong in zip(softmax(on_u), on_s, strict=True):
        if weak.max() >= tau:
            soft = weak ** (1 / (temperature or 1))
            target = soft / soft.sum() if temperature else np.eye(10)[weak.argmax()]
            total, sure = total + oracle_cross_entropy(strong[None], target[None])[0], sure + 1
    return oracle_cross_entropy(on_x, batch["y"].numpy()).mean(), total / len(on_u), sure / len(on_u)


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("temperature", (None, 1.0, 0.5))
def test_the_loss_is_the_formula(n, temperature):
    knobs = {"labels": "soft", "temperature": temperature} if temperature else {}
    method, batch = task.method(ENTRY, weight=3.0, **knobs), seen(ENTRY, n, ratio=3)
    views = torch.cat([batch[name] for name in "xus"])
    method.tau = softmax(logits(method.online, views)[n : 4 * n]).max(1).mean()  # sure of some, not of all
    on_labels, on_pseudo, sure = oracle(method, batch, method.tau, temperature)
    assert 0 < sure < 1
    assert method(**batch).item() == pytest.approx(on_labels + 3 * on_pseudo, rel=1e-5)
    assert method.notes["kept"].item() == pytest.approx(sure)


def saying(on_x, on_u, on_s, **knobs):
    """A method whose network says these logits, and its loss."""
    method = task.method(ENTRY, **knobs)
    method.online = nn.Identity()
    return method, method(x=on_x, y=torch.zeros(len(on_x), dtype=torch.int64), u=on_u, s=on_s)


RIGHT = 50 * torch.eye(4)[:1]


def test_an_image_exactly_at_the_threshold_counts():
    on_u = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.0, 0.0]])  # p = 1/2, .73, .62, 1/2
    for tau, kept in ((0.5, 1.0), (0.5001, 0.5), (0.7, 0.25), (0.99, 0.0)):
        method, _ = saying(torch.zeros(1, 2), on_u, torch.zeros(4, 2), tau=tau)
        assert method.notes["kept"].item() == kept


@pytest.mark.parametrize("labels", ("hard", "soft"))
def test_only_strong_views_of_sure_images_teach_and_all_images_are_in_the_mean(labels):
    on_u = torch.tensor([[9.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 8.0]], requires_grad=True)
    on_s = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    saying(torch.zeros(2, 3), on_u, on_s, weight=2.0, labels=labels)[1].backward()
    p, q = on_s.detach().softmax(1), torch.eye(3) if labels == "hard" else on_u.detach().softmax(1)
    torch.testing.assert_close(on_s.grad, 2 * torch.stack([p[0] - q[0], torch.zeros(3), p[2] - q[2]]) / 3)
    assert on_u.grad is None or not on_u.grad.any()


def test_agreeing_with_what_one_is_sure_of_costs_nothing_and_guessing_costs_the_labels_alone():
    sure = 50 * torch.eye(4)
    assert saying(RIGHT, sure, sure)[1] < 1e-6
    assert saying(RIGHT, sure, sure[[1, 0, 2, 3]])[1].item() == pytest.approx(25, rel=1e-5)  # 2 of 4, 50 nats each
    flat = torch.zeros(4, 4)
    assert saying(flat, flat, flat)[1].item() == pytest.approx(np.log(4))


def test_soft_labels_at_no_temperature_are_hard_ones_and_hard_ones_have_none():
    draw = torch.Generator().manual_seed(0)
    views = torch.zeros(2, 5), torch.randn(8, 5, generator=draw), torch.randn(8, 5, generator=draw)

    def loss(**knobs):
        return saying(*views, tau=0.0, **knobs)[1].item()

    assert loss(labels="soft", temperature=1e-4) == pytest.approx(loss(), rel=1e-5)
    assert loss(temperature=0.1) == loss() != loss(labels="soft")
    assert loss(labels="soft", temperature=0.5) != pytest.approx(loss(labels="soft"), rel=1e-3)


def test_the_threshold_is_for_what_the_network_said_and_not_for_what_was_sharpened():
    on_u = torch.tensor([[2.0, 0.0], [3.0, 0.0]])  # p = .88, .953; squared and renormalised .98, .998
    method, _ = saying(torch.zeros(1, 2), on_u, torch.zeros(2, 2), labels="soft", temperature=0.5)
    assert method.notes["kept"] == 0.5


@pytest.mark.parametrize("update, views", [("all", "xus"), ("labelled", "x"), ("last", "s")])
def test_running_statistics_move_in_the_pass_that_the_knob_names(update, views):
    method, batch = task.method(ENTRY, **{} if update == "all" else {"bn_update": update}), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([batch[view] for view in views]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)


def test_the_average_is_what_is_learned():
    method = task.method(ENTRY)
    assert method.learned is method.target.net and method.ema == 0.999
    assert not any(parameter.requires_grad for parameter in method.target.parameters())
    assert (ENTRY.labelled["x"], ENTRY.unlabelled["u"]) == ("shift(.125)|flip",) * 2
    assert "randaugment" in ENTRY.unlabelled["s"] and "cutout" in ENTRY.unlabelled["s"]


def asked(net):
    """How many images each call of a network holds, from now on."""
    sizes = []
    net.register_forward_pre_hook(lambda net, inputs: sizes.append(len(inputs[0])))
    return sizes


def test_with_ctaugment_the_strong_view_is_made_of_a_second_weak_one():
    method, plain = (task.method(ENTRY, tau=0.0, strong=strong) for strong in ("ctaugment", "recipe"))
    batch = seen(ENTRY)
    assert method.unlabelled == {"u": WEAK, "s": WEAK} and method.labelled == {"x": WEAK}
    (strong,) = method.strengths(batch["s"])
    loss = method(**batch)
    assert loss == plain(**batch | {"s": strong}) != plain(**batch)
    assert method.strengths.augment.cutout


def test_rates_follow_the_average_network_after_the_yield():
    method, batch = task.method(ENTRY, strong="ctaugment"), seen(ENTRY)
    online, average = asked(method.online), asked(method.target.net)
    method(**batch)
    assert (method.strengths.augment.rates == 1).all() and (online, average) == ([4 + 8 + 8], [])
    method.remember()
    assert (method.strengths.augment.rates < 1).sum() > 4 and (online, average) == ([4 + 8 + 8], [4])
    assert "strengths.augment.rates" in method.state_dict()


def test_recipes_cost_no_further_pass_and_no_state():
    method, batch = task.method(ENTRY), seen(ENTRY)
    online, average = asked(method.online), asked(method.target.net)
    method(**batch)
    method.remember()
    assert (online, average) == ([4 + 8 + 8], []) and method.unlabelled == ENTRY.unlabelled
    assert not any(name.startswith("strengths") for name in method.state_dict())

"""MoCo: a query, the key of its image, a queue of other keys."""

from copy import deepcopy
from math import exp, log

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.losses import unit
from tests.contract import small_task as task
from tests.test_losses import oracle_info_nce

ENTRY = catalogue.find("moco", "pretext")


def views(n, seed=0):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def step(method, n, seed=0):
    """One step of a plain optimiser; gives what was learned from."""
    q, k = views(n, seed)
    method(q=q, k=k).backward()
    with torch.no_grad():
        for parameter in method.online.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    method.remember()
    return q, k


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_algorithm_1(n):
    """arXiv:1911.05722: cross-entropy of q k+ over q k+ and q with each row of the queue, at a temperature."""
    method = task.method(ENTRY, size=7, dim=6, tau=0.3, groups=1)
    q, k = views(n)
    with torch.no_grad():
        z_q, z_k = method.online(q).numpy(), method.target(k).numpy()
    expected = oracle_info_nce(z_q, z_k, method.queue.keys.numpy(), 0.3)
    assert method(q=q, k=k).item() == pytest.approx(expected, rel=1e-5)


def test_an_aligned_batch_costs_the_floor_and_not_ln_2():
    """stable-pretraining appends the keys before it reads them: each query then has its positive among its negatives.

    Two copies of one view, target equal to online, a queue orthogonal to all keys: ln(1 + K exp(-1 / tau)).
    """
    method = task.method(ENTRY, size=8, dim=16, tau=0.1, groups=1)
    with torch.no_grad():
        for head in (method.online.head[0], method.target.net.head[0]):
            head.weight[8:], head.bias[8:] = 0, 0  # keys live in the first half of the space, the queue in the other
        method.queue.keys.copy_(torch.eye(16)[8:])
    view = views(4)[0]
    assert method(q=view, k=view).item() == pytest.approx(log(1 + 8 * exp(-10)), abs=1e-5)


def test_a_network_that_shows_one_point_costs_chance():
    method = task.method(ENTRY, size=8, dim=16)
    with torch.no_grad():
        for head in (method.online.head[0], method.target.net.head[0]):
            head.weight.zero_()
        method.queue.keys.copy_(unit(method.online.head[0].bias).expand(8, 16))
    q, k = views(4)
    assert method(q=q, k=k).item() == pytest.approx(method.chance, rel=1e-5) == pytest.approx(log(9), rel=1e-5)


def test_after_the_step_the_queue_holds_its_keys_in_the_place_of_the_oldest():
    """lightly drops the tail of a batch that wraps; batches of 3 do not divide a queue of 7."""
    method, pushed = task.method(ENTRY, size=7, dim=6, groups=1), []
    for seed in range(4):
        q, k = views(3, seed)
        before = deepcopy(method.target.net)
        method(q=q, k=k)
        method.remember()
        pushed += unit(before(k)).tolist()
    held = {tuple(np.round(row, 5)) for row in method.queue.keys.tolist()}
    assert held == {tuple(np.round(row, 5)) for row in pushed[-7:]}
    torch.testing.assert_close(method.queue.keys.norm(dim=1), torch.ones(7))


def test_the_target_is_the_average_of_the_formula_after_three_steps_and_has_no_gradient():
    method, m = task.method(ENTRY, size=8, dim=6, m=0.6), 0.6
    expected = [parameter.clone() for parameter in method.target.net.parameters()]
    start = expected
    for seed in range(3):
        step(method, 8, seed)
        now = list(method.online.parameters())
        expected = [m * target + (1 - m) * online for target, online in zip(expected, now, strict=True)]
    for target, formula, first in zip(method.target.net.parameters(), expected, start, strict=True):
        torch.testing.assert_close(target, formula)
        assert not torch.equal(target, first) and target.grad is None and not target.requires_grad


def test_batch_norm_sees_keys_in_other_groups_than_queries():
    """With one device and whole batches, statistics tell the positive: arXiv:1911.05722, section 3.3."""
    method = task.method(ENTRY, size=8, groups=4)
    images = views(16)[0]
    seen = {"online": [], "target": []}
    for name, net in (("online", method.online), ("target", method.target.net)):
        net.encoder.register_forward_pre_hook(lambda module, inputs, name=name: seen[name].append(inputs[0]))
    method(q=images, k=images)
    parts = {name: [[row_of(image, images) for image in part] for part in parts] for name, parts in seen.items()}
    assert parts["online"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert parts["target"] == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]


def row_of(image, batch):
    return (batch == image).flatten(1).all(1).nonzero().item()

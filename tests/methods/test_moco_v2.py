"""MoCo v2: MoCo with another head, other views, another temperature, and perhaps in both directions."""

from copy import deepcopy
from math import exp, log

import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.losses import unit
from tests.contract import small_task as task
from tests.test_losses import oracle_info_nce

ENTRY = catalogue.find("moco_v2", "pretext")


def views(n, seed=0):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("symmetric", (False, True))
@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_info_nce_and_symmetric_is_the_mean_of_both_directions(n, symmetric):
    method = task.method(ENTRY, size=7, dim=6, tau=0.3, groups=1, symmetric=symmetric)
    q, k = views(n)
    with torch.no_grad():
        pairs = [(method.online(a).numpy(), method.target(b).numpy()) for a, b in ((q, k), (k, q))]
    both = [oracle_info_nce(query, key, method.queue.keys.numpy(), 0.3) for query, key in pairs]
    expected = sum(both) / 2 if symmetric else both[0]
    assert both[0] != pytest.approx(both[1], rel=1e-4)
    assert method(q=q, k=k).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("symmetric", (False, True))
def test_an_aligned_batch_costs_the_floor_and_not_ln_2(symmetric):
    """The keys are pushed after the loss: stable-pretraining does it before."""
    method = task.method(ENTRY, size=8, dim=16, tau=0.1, groups=1, symmetric=symmetric)
    with torch.no_grad():
        for head in (method.online.head[-1], method.target.net.head[-1]):
            head.weight[8:], head.bias[8:] = 0, 0
        method.queue.keys.copy_(torch.eye(16)[8:])
    view = views(4)[0]
    assert method(q=view, k=view).item() == pytest.approx(log(1 + 8 * exp(-10)), abs=1e-5)


def test_symmetric_pushes_the_keys_of_both_views():
    method = task.method(ENTRY, size=8, dim=6, groups=1, symmetric=True)
    target, (q, k) = deepcopy(method.target.net), views(3)
    method(q=q, k=k)
    method.remember()
    with torch.no_grad():
        torch.testing.assert_close(method.queue.keys[:3], unit(target(k)))
        torch.testing.assert_close(method.queue.keys[3:6], unit(target(q)))
    assert method.queue.next == 6


@pytest.mark.parametrize("hidden, width", [(0, 16), (7, 7)])
def test_the_head_has_a_hidden_layer_and_no_batch_norm(hidden, width):
    head = task.method(ENTRY, hidden=hidden, dim=6).online.head
    assert head.dims == [16, width, 6]
    assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Linear]


def test_keys_are_dealt_into_other_groups_than_queries():
    method, sizes = task.method(ENTRY, size=8, groups=4), {"online": [], "target": []}
    for name, net in (("online", method.online), ("target", method.target.net)):
        net.encoder.register_forward_pre_hook(lambda _, inputs, name=name: sizes[name].append(inputs[0][:, 0, 0, 0]))
    numbered = torch.arange(8.0)[:, None, None, None].expand(8, 1, 8, 8)
    method(q=numbered, k=numbered)
    assert [part.tolist() for part in sizes["online"]] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [part.tolist() for part in sizes["target"]] == [[0, 4], [1, 5], [2, 6], [3, 7]]

"""BYOL: the loss of both directions, a target that only follows, and what keeps it from one point."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.nets.memory import rising
from tests.contract import small_task as task
from tests.test_losses import SIZES

ENTRY = catalogue.find("byol", "pretext")


def views(n):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def squared_distance(p, z):
    """arXiv:2006.07733, equation 2: |p / |p| - z / |z||^2, the mean over images."""
    p, z = p.detach().double().numpy(), z.detach().double().numpy()
    p, z = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (p, z))
    return ((p - z) ** 2).sum(1).mean()


@pytest.mark.parametrize("n", SIZES)
def test_the_loss_is_the_squared_distance_of_prediction_and_target_in_both_directions(n):
    method, (a, b) = task.method(ENTRY), views(n)
    torch.nn.init.normal_(method.target.net.head[-1].weight)  # a target that is not the online network
    p_a, p_b = method.predictor(method.online(a)), method.predictor(method.online(b))
    expected = squared_distance(p_a, method.target(b)) + squared_distance(p_b, method.target(a))
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-5)


def test_one_output_for_all_images_costs_nothing():
    """The fixed point that nothing in the loss forbids: hence the monitor of the features."""
    method, (a, b) = task.method(ENTRY, dim=4), views(3)
    for head in (method.predictor, method.target.net.head):
        head.append(torch.nn.Threshold(1e9, 1.0))  # whatever comes in
    assert method(a=a, b=b).item() == pytest.approx(0, abs=1e-6)


def test_the_loss_of_a_batch_seen_four_times_is_that_of_the_batch():
    method, (a, b) = task.method(ENTRY).eval(), views(3)
    assert method(a=a.repeat(4, 1, 1, 1), b=b.repeat(4, 1, 1, 1)).item() == pytest.approx(method(a=a, b=b).item())


def test_the_target_gets_no_gradient():
    method, (a, b) = task.method(ENTRY), views(5)
    method(a=a, b=b).backward()
    assert all(parameter.grad is None for parameter in method.target.parameters())
    assert all(parameter.grad is not None for parameter in method.online.parameters())


def test_the_target_is_the_average_of_the_formula_with_a_momentum_that_moves_each_step():
    """lightly-type training loops have moved it once an epoch."""
    method, (a, b) = task.method(ENTRY, m=0.5), views(5)
    name, expected = "net.head.0.weight", method.target.net.head[0].weight.clone()
    for step, m in enumerate([0.5, rising(0.5, 1 / 3), rising(0.5, 2 / 3)]):
        method.t = step / 3
        method(a=a, b=b)
        with torch.no_grad():
            method.online.head[0].weight.add_(1.0)
        method.remember()
        expected = m * expected + (1 - m) * method.online.head[0].weight.detach()
        torch.testing.assert_close(method.target.state_dict()[name], expected)
    counter = "encoder.net.bn1.num_batches_tracked"
    assert method.target.net.state_dict()[counter] == method.online.state_dict()[counter] == 6  # copied, not averaged


@pytest.mark.parametrize("hidden, dim", [(4096, 256), (7, 3)])
def test_projector_and_predictor_have_one_hidden_layer(hidden, dim):
    method = task.method(ENTRY, hidden=hidden, dim=dim)
    assert method.online.head.dims == [16, hidden, dim] and method.predictor.dims == [dim, hidden, dim]
    assert ENTRY.knobs["hidden"][1] == 4096 and ENTRY.knobs["dim"][1] == 256 and ENTRY.knobs["m"][1] == 0.996


def test_the_two_views_are_not_alike():
    assert ENTRY.unlabelled["a"] != ENTRY.unlabelled["b"]

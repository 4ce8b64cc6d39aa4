"""Instance discrimination: each image against its own row of a memory bank."""

from math import log, log1p

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.losses import unit
from tests.contract import small_task as task

ENTRY = catalogue.find("instdisc", "pretext")


def seen(n, seed=0):
    """Views, and the rows that they are of."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 8, 8, generator=draw), torch.randperm(1797, generator=draw)[:n]


def scores(method, x, index):
    """exp(v f / tau) of each image with all rows of the bank, in float64."""
    with torch.no_grad():
        z = unit(method.online(x)).double().numpy()
    return np.exp(z @ method.bank.rows.double().numpy().T / method.tau)


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_softmax_loss_is_over_the_whole_bank(n):
    """arXiv:1805.01978, equation 2: exp(v_i f / tau) over the sum for all images, its own among them once."""
    method, (x, index) = task.method(ENTRY, loss="softmax", dim=6, tau=0.3), seen(n)
    p = scores(method, x, index)
    expected = -np.log(p[np.arange(n), index] / p.sum(1)).mean()
    assert method(x=x, index=index).item() == pytest.approx(expected, rel=1e-5)
    assert method.chance == pytest.approx(log(1797))


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_nce_loss_is_equations_5_to_8_without_the_own_row(n):
    method, (x, index) = task.method(ENTRY, dim=6, tau=0.3, negatives=50), seen(n)
    noise = method.noise.rows()
    index[0] = noise[7]  # an image that is drawn as noise while it is seen
    p, m, images = scores(method, x, index), 50, 1797
    others = [p[i, [row for row in noise.tolist() if row != index[i]]] for i in range(n)]
    z, total = images * np.concatenate(others).mean(), 0.0
    for i in range(n):
        h = p[i, index[i]] / z / (p[i, index[i]] / z + m / images)
        h_noise = others[i] / z / (others[i] / z + m / images)
        total -= np.log(h) + np.log(1 - h_noise).sum()
    assert method(x=x, index=index).item() == pytest.approx(total / n, rel=1e-4)


@pytest.mark.parametrize("loss, floor, mistaken", [("nce", 1796 * log1p(1 / 1797), 2 * log(2)), ("softmax", 0, log(2))])
def test_an_image_that_is_its_row_and_far_from_all_others_costs_the_floor(loss, floor, mistaken):
    """And more where a negative is its own row. The floor of nce is near 1: noise at the mean of all noise."""
    method = task.method(ENTRY, loss=loss, dim=16, tau=0.04, negatives=1797)
    method.bank.rows.copy_(torch.eye(16)[8:].repeat(225, 1)[:1797])
    method.bank.rows[:4] = torch.eye(16)[:4]
    method.online = nn.Flatten()
    x, index = torch.eye(16)[:4], torch.arange(4)
    assert method(x=x, index=index).item() == pytest.approx(floor, abs=1e-4)
    method.bank.rows[4:8] = torch.eye(16)[:4]  # what an own row would be that is no exception
    assert method(x=x, index=index).item() == pytest.approx(mistaken, abs=1e-3)


def test_one_point_for_all_images_costs_chance():
    method, (x, index) = task.method(ENTRY, dim=6, negatives=50), seen(4)
    index[:] = method.noise.order[-1]  # not in the noise
    with torch.no_grad():
        method.online.head[0].weight.zero_()
        method.bank.rows.copy_(unit(method.online.head[0].bias).expand(1797, 6))
    assert method(x=x, index=index).item() == pytest.approx(method.chance, rel=1e-4)


def test_the_constant_follows_features_that_move_together():
    """That of the first batch (arXiv:1805.01978, section 3.2) would be wrong by e^14 once all features are close."""
    method, (x, index) = task.method(ENTRY, negatives=50), seen(4)
    spread = method(x=x, index=index).item()
    with torch.no_grad():
        method.online.head[0].weight.mul_(1e-3)
        method.bank.rows.copy_(unit(method.online.head[0].bias + 0.01 * torch.randn(1797, 128)))
    assert method(x=x, index=index).item() < 2 * method.chance and spread < 2 * method.chance


@pytest.mark.parametrize("m", (0.0, 0.5, 1.0))
def test_the_bank_moves_after_the_step_and_keeps_its_lengths(m):
    """lightly's bank was not normalised (PR 1009)."""
    method, (x, index) = task.method(ENTRY, m=m), seen(5)
    start = method.bank.rows.clone()
    method(x=x, index=index)
    assert torch.equal(method.bank.rows, start)
    with torch.no_grad():
        z = unit(method.online(x))
    method.remember()
    torch.testing.assert_close(method.bank.rows[index], unit(m * start[index] + (1 - m) * z))
    others = torch.ones(1797, dtype=torch.bool)
    others[index] = False
    assert torch.equal(method.bank.rows[others], start[others])
    torch.testing.assert_close(method.bank.rows.norm(dim=1), torch.ones(1797))


def test_the_noise_is_other_rows_in_the_next_step():
    method, (x, index) = task.method(ENTRY, negatives=50), seen(3)
    first = set(method.noise.rows().tolist())
    method(x=x, index=index)
    method.remember()
    assert len(first) == 50 and not first & set(method.noise.rows().tolist())

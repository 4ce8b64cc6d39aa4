"""Barlow Twins: the cross-correlation of two views becomes the identity."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.losses import cross_correlation, off_diagonal
from tests.contract import small_task as task
from tests.gloo import both
from tests.test_losses import SIZES

ENTRY = catalogue.find("barlow_twins", "pretext")


def views(n):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def oracle(a, b, redundancy):
    """arXiv:2103.03230, equations 1 and 2, element by element."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    a, b, total = a - a.mean(0), b - b.mean(0), 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = (a[:, i] * b[:, j]).sum() / np.sqrt((a[:, i] ** 2).sum()) / np.sqrt((b[:, j] ** 2).sum())
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


def loss(a, b, redundancy=0.005):
    c = cross_correlation(a, b)
    return (1 - c.diagonal()).square().sum() + redundancy * off_diagonal(c)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("redundancy", [0.005, 1.0])
def test_the_loss_is_the_formula(n, redundancy):
    method, (a, b) = task.method(ENTRY, dim=8, redundancy=redundancy).double(), views(n).double()
    with torch.no_grad():
        expected = oracle(method.online(a).numpy(), method.online(b).numpy(), redundancy)
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-3)


def test_aligned_dimensions_that_say_different_things_cost_nothing():
    z = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])[:, 1:]
    assert loss(z, 3 * z + 5).item() == pytest.approx(0, abs=1e-6)  # mean and scale of a dimension do not count


def test_one_point_costs_one_for_each_dimension_and_no_nan():
    z = torch.ones(4, 6, requires_grad=True)
    collapsed = loss(z, z)
    collapsed.backward()
    assert collapsed.item() == 6 and z.grad.isfinite().all()


def test_dimensions_that_repeat_one_another_cost_the_redundancy_of_all_pairs():
    z = torch.randn(5, 1, generator=torch.Generator().manual_seed(0)).expand(5, 3)
    assert loss(z, z, 0.1).item() == pytest.approx(0.1 * 6, rel=1e-5)


def test_the_loss_of_a_batch_seen_four_times_is_that_of_the_batch():
    a, b = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
    assert loss(a.repeat(4, 1), b.repeat(4, 1)).item() == pytest.approx(loss(a, b).item(), rel=1e-5)


def test_the_correlation_is_fp32_under_autocast():
    a, b = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(a, b).item() == pytest.approx(oracle(a.float().numpy(), b.float().numpy(), 0.005), rel=1e-5)


def _correlation(rank):
    a, b = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    return cross_correlation(a.chunk(2)[rank], b.chunk(2)[rank])


@pytest.mark.slow  # two processes import torch
def test_the_correlation_is_over_the_images_of_all_processes():
    a, b = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    for part in both(_correlation):
        torch.testing.assert_close(part, cross_correlation(a, b))


def test_the_projector_has_three_layers_and_no_last_bias():
    head = task.method(ENTRY, dim=6).online.head
    assert head.dims == [16, 6, 6, 6] and head[-1].bias is None
    assert ENTRY.knobs["dim"][1] == 8192 and ENTRY.knobs["redundancy"][1] == 0.005

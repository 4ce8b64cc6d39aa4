"""VICReg: invariance, variance, covariance."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.losses import covariance, variance
from tests.contract import small_task as task
from tests.gloo import both
from tests.test_losses import SIZES

ENTRY = catalogue.find("vicreg", "pretext")
WEIGHTS = ("invariance", "variance", "covariance")


def views(n):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def oracle_variance(z):
    """arXiv:2105.04906, equations 1 and 2, gamma 1 and epsilon 1e-4."""
    z = z.astype(np.float64)
    return np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean()


def oracle_covariance(z):
    """Equations 3 and 4, sample by sample."""
    z = z.astype(np.float64)
    c = sum(np.outer(row - z.mean(0), row - z.mean(0)) for row in z) / (len(z) - 1)
    return sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j) / len(c)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("weights", [(25, 25, 1), (3, 0, 0), (0, 3, 0), (0, 0, 3)])
def test_the_loss_is_the_weighted_sum_of_the_three(n, weights):
    knobs = {name: float(weight) for name, weight in zip(WEIGHTS, weights, strict=True)}
    method, (a, b) = task.method(ENTRY, dim=8, **knobs), views(n)
    with torch.no_grad():
        z_a, z_b = method.online(a).numpy(), method.online(b).numpy()
    alike = ((z_a - z_b).astype(np.float64) ** 2).mean()  # Algorithm 1 divides by the dimensions too
    spread = oracle_variance(z_a) + oracle_variance(z_b)
    apart = oracle_covariance(z_a) + oracle_covariance(z_b)
    expected = weights[0] * alike + weights[1] * spread + weights[2] * apart
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_wide_and_uncorrelated_dimensions_cost_nothing():
    z = 2 * torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert variance(z).item() == 0 and covariance(z).item() == pytest.approx(0, abs=1e-6)


def test_one_point_costs_its_missing_deviation_and_the_gradient_is_finite():
    z = torch.ones(4, 3, requires_grad=True)
    variance(z).backward()
    assert variance(z).item() == pytest.approx(1 - 1e-4**0.5) and covariance(z).item() == 0
    assert z.grad.isfinite().all()


def test_dimensions_that_repeat_one_another_cost_their_variance_squared():
    z = torch.tensor([-3.0, -1, 1, 3])[:, None].expand(4, 3)
    assert covariance(z).item() == pytest.approx((20 / 3) ** 2 * 6 / 3, rel=1e-5)


def test_half_precision_in_gives_the_terms_of_the_rounded_input_in_fp32():
    z = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert covariance(z).item() == pytest.approx(oracle_covariance(z.float().numpy()), rel=1e-5)
        assert variance(z).item() == pytest.approx(oracle_variance(z.float().numpy()), rel=1e-5)


def _terms(rank):
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).chunk(2)[rank]
    return torch.stack([variance(z), covariance(z)])


@pytest.mark.slow  # two processes import torch
def test_variance_and_covariance_are_over_the_images_of_all_processes():
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    for part in both(_terms):
        torch.testing.assert_close(part, torch.stack([variance(z), covariance(z)]))


def test_the_expander_has_three_layers_and_no_last_bias():
    head = task.method(ENTRY, dim=6).online.head
    assert head.dims == [16, 6, 6, 6] and head[-1].bias is None
    assert [ENTRY.knobs[name][1] for name in ("dim", *WEIGHTS)] == [8192, 25, 25, 1]

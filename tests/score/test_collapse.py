"""Spread and rank of features against closed forms; the check fires on collapse and on nothing else."""

from math import inf, log, sqrt

import pytest
import torch
import torch.nn.functional as F

from pipeline.errors import Collapsed
from pipeline.score.collapse import check, effective_rank, feature_std, leaves_chance


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rank", (1, 2, 7, 16))
def test_equal_singular_values_give_the_rank(rank):
    left = torch.linalg.qr(normal(40, 16).double()).Q[:, :rank]
    right = torch.linalg.qr(normal(16, 16, seed=1).double()).Q[:, :rank]
    assert effective_rank(5 * left @ right.T) == pytest.approx(rank, rel=1e-4)


def test_known_spectrum():
    # sigma = 3, 1: p = .75, .25; exp(entropy) = .75^-.75 * .25^-.25
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(0.75**-0.75 * 0.25**-0.25, rel=1e-5)


def test_features_are_not_centred():
    assert effective_rank(torch.ones(50, 8)) == pytest.approx(1, rel=1e-4)


def test_feature_std_is_one_on_the_sphere_and_nought_in_a_point():
    assert feature_std(F.normalize(normal(20_000, 32), dim=1)) == pytest.approx(1, abs=0.01)
    assert feature_std(F.normalize(torch.ones(9, 32), dim=1)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("n", (2, 3, 17))
def test_feature_std_by_hand(n):
    unit = F.normalize(normal(n, 4).double(), dim=1)
    assert feature_std(unit) == pytest.approx(unit.numpy().std(0).mean() * sqrt(4))


@pytest.mark.parametrize(
    "features",
    (
        torch.ones(64, 16),
        torch.zeros(64, 16),
        torch.ones(64, 16) + 0.01 * normal(64, 16),
        normal(64, 1) * torch.ones(16),
        normal(64, 16) / 0,
    ),
    ids=("constant", "zero", "nearly constant", "one line", "not finite"),
)
def test_collapse_is_noticed(features):
    with pytest.raises(Collapsed, match=r"collapsed.*floor|not finite"):
        check(features)


@pytest.mark.parametrize("seed", range(5))
def test_healthy_features_pass(seed):
    std, rank = check(normal(64, 16, seed=seed))
    assert std > 0.9
    assert rank > 10


def test_an_untrained_network_passes():
    """Features after a ReLU share a large mean: low, but no collapse."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 64), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(64, 64), torch.nn.ReLU())
    std, _ = check(network(torch.rand(200, 64)).detach())
    assert std < 0.5


@pytest.mark.parametrize(
    ("losses", "leaves"), [([8.0, 6.0, 5.0, 4.9], True), ([6.238] * 8, False), ([9.0, 8.0, 6.3, 6.24], False)]
)
def test_a_loss_at_ln_k_has_learned_nothing(losses, leaves):
    if leaves:
        leaves_chance(losses, log(512))
    else:
        with pytest.raises(Collapsed, match=r"guessing costs 6\.238"):
            leaves_chance(losses, log(512))


def test_a_method_without_a_chance_is_left_alone():
    leaves_chance([5.0, 5.0], inf)

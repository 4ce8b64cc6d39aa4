"""Draws depend on the seed and the purpose, and on nothing else."""

import numpy as np
import torch

from pipeline import seed


def test_number_is_fixed_for_ever():
    """Another number here would change every split and every run that was ever made."""
    assert seed.number(0) == 4761921975702974394
    assert seed.number(3, "view", 5, "x") == 5693305495211775592


def test_every_part_counts_and_parts_do_not_run_together():
    purposes = [(0,), (1,), (0, "a"), (0, "a", 1), (0, "a", 11), (0, "a1", 1), (0, "a", "1", "1"), (0, "b")]
    assert len({seed.number(*purpose) for purpose in purposes}) == len(purposes)
    assert all(0 <= seed.number(*purpose) < 2**63 for purpose in purposes)


def test_fraction_is_uniform():
    draws = np.array([seed.fraction(1, "key", i) for i in range(20_000)])
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01 and abs(draws.var() - 1 / 12) < 0.003
    assert np.histogram(draws, 10, (0, 1))[0].min() > 1800


def test_generator_repeats_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first = torch.rand(4, generator=seed.generator(2, "order", 0))
    assert torch.equal(first, torch.rand(4, generator=seed.generator(2, "order", 0)))
    assert not torch.equal(first, torch.rand(4, generator=seed.generator(2, "order", 1)))
    assert torch.equal(before, torch.get_rng_state())


def test_everything_sets_the_global_one():
    seed.everything(2, "step", 7)
    first = torch.rand(4)
    seed.everything(2, "step", 7)
    assert torch.equal(first, torch.rand(4))

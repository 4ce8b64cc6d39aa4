"""Numbers that belong to images."""

import numpy as np
import torch
from scipy import stats

from pipeline.robustness.draws import Draws
from pipeline.streams import mixed

KEYS = [f"key-{i}" for i in range(40)]


def test_the_hash_is_splitmix64():
    """Against the recurrence in numpy's unsigned arithmetic, and the first published outputs for the seed 1234567."""
    with np.errstate(over="ignore"):
        z = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    assert z[0] == 6457827717110365317
    ours = mixed(1234567 + torch.arange(1, 4) * (0x9E3779B97F4A7C15 - 2**64))
    assert (ours.numpy().view(np.uint64) == z).all()


def test_an_image_has_the_same_numbers_in_any_batch_and_in_any_order_of_calls():
    whole = Draws.of(KEYS, 0)
    first, second = whole.uniform("a", 3, 5), whole.normal("b", 7)
    part = Draws.of(KEYS[20:23], 0)
    assert (part.normal("b", 7) == second[20:23]).all() and (part.uniform("a", 3, 5) == first[20:23]).all()
    assert (whole[20:23].uniform("a", 3, 5) == first[20:23]).all()


def test_seed_key_purpose_and_name_each_change_the_numbers():
    draws = Draws.of(["one", "two"], 0)
    base = draws.uniform("a", 4)
    others = [Draws.of(["one"], 1).uniform("a", 4), draws.purpose("fog", 1).uniform("a", 4), draws.uniform("b", 4)]
    others += [draws.purpose("fog", 2).uniform("a", 4), base[1:]]
    everything = torch.cat([base[:1], *(other[:1] for other in others)])
    assert len(everything.unique()) == everything.numel()


def test_uniform_and_normal_are_what_they_say():
    draws = Draws.of(KEYS, 0)
    u, n = draws.uniform("u", 5000).double(), draws.normal("n", 5000).double()
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u.flatten(), "uniform").pvalue > 1e-3
    assert stats.kstest(n.flatten(), "norm").pvalue > 1e-3
    within = torch.corrcoef(torch.stack([n[:, :-1].flatten(), n[:, 1:].flatten()]))[0, 1]
    between = torch.corrcoef(n) - torch.eye(len(KEYS))
    assert within.abs() < 0.01 and between.abs().max() < 0.07  # five sigmas of 5,000 numbers
    turned = draws.uniform("u", 5000, low=-45, high=45)
    assert -45 < turned.min() < -44.9 and 44.9 < turned.max() < 45

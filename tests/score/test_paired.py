"""Paired tests against scipy, an old textbook form, and the variance of the differences themselves."""

from math import comb, sqrt

import numpy as np
import pytest

from pipeline.score.paired import discordant, half, mcnemar


@pytest.mark.parametrize(("mine", "theirs"), ((0, 0), (1, 0), (0, 6), (3, 12), (8, 8), (40, 61)))
def test_mcnemar_is_the_binomial_sum(mine, theirs):
    """Twice the smaller tail of a fair coin, at most 1."""
    n = mine + theirs
    tail = sum(comb(n, k) for k in range(min(mine, theirs) + 1)) / 2**n
    assert mcnemar(mine, theirs) == pytest.approx(min(1.0, 2 * tail)) == mcnemar(theirs, mine)


def test_half_is_that_of_the_mean_of_the_differences():
    draw = np.random.default_rng(0)
    one, two = draw.random(300) < 0.8, draw.random(300) < 0.6
    each = one.astype(float) - two
    b, c = discordant(one.tolist(), two.tolist())
    assert (b - c) / 300 == pytest.approx(each.mean())
    assert half(b, c, 300) == pytest.approx(1.959964 * each.std() / sqrt(300))


def test_only_images_that_one_alone_has_right_are_discordant():
    assert discordant([True, True, False, False, True], [True, False, True, False, False]) == (2, 1)
    with pytest.raises(ValueError, match="longer"):
        discordant([True], [True, False])


def test_a_model_against_itself():
    assert (half(0, 0, 10), mcnemar(0, 0)) == (0, 1)

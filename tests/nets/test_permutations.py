from itertools import combinations
from itertools import permutations as every

import numpy as np
import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.nets.permutations import Solver, distances, every_permutation, permutations


def hamming(p, q):
    return sum(a != b for a, b in zip(p, q, strict=True))


def is_even(p):
    return sum(a > b for a, b in combinations(p, 2)) % 2 == 0


@pytest.mark.parametrize("n", (2, 3, 4, 6))
def test_every_permutation_is_there_once_and_the_even_ones_come_first(n):
    table = [tuple(column) for column in every_permutation(n).T.tolist()]
    assert sorted(table) == list(every(range(n)))
    assert [is_even(p) for p in table] == [True] * (len(table) // 2) + [False] * (len(table) // 2)


@pytest.mark.parametrize("count, apart", [(2, 2), (8, 2), (24, 2), (7, 3), (12, 3), (4, 4)])
def test_each_is_the_farthest_from_those_before_it_by_brute_force(count, apart):
    """First by its least distance, then by the sum of all."""
    rows = [tuple(row) for row in permutations(4, count, apart).tolist()]
    pool = [p for p in every(range(4)) if apart < 3 or is_even(p)]

    def worth(p, before):
        return min(hamming(p, q) for q in before), sum(hamming(p, q) for q in before)

    for taken in range(1, count):
        best = max(worth(p, rows[:taken]) for p in pool)
        assert worth(rows[taken], rows[:taken]) == best and best[0] >= apart


@pytest.mark.slow  # 362,880 candidates, a thousand times
@pytest.mark.parametrize("count, apart, least", [(100, 2, 6), (1000, 2, 5), (701, 3, 5)])
def test_of_nine_tiles_the_mean_distance_is_the_largest_that_there_is(count, apart, least):
    """Where each tile is as often in each place, P (P / n - 1) of P (P - 1) pairs agree in a place, and never fewer.

    A thousand random permutations have 8.0005 and two alike; the sum alone (the paper's rule) has 8.008 and 2.
    """
    table = permutations(9, count, apart)
    assert table.dtype == torch.int64 and torch.equal(table.sort(1).values, torch.arange(9).expand(count, 9))
    assert len(table.unique(dim=0)) == count
    found, mean = distances(table).tolist()
    bound = 9 * (1 - (count / 9 - 1) / (count - 1))
    random = distances(torch.rand(count, 9, generator=torch.Generator().manual_seed(1)).argsort(1))
    assert found == least > random[0]
    assert random[1] + 0.005 < mean <= bound + 1e-4
    assert mean == pytest.approx(bound, abs=1e-3)


def test_distances_are_those_of_numpy():
    table = torch.rand(30, 5, generator=torch.Generator().manual_seed(0)).argsort(1)
    pairs = [np.count_nonzero(p != q) for p, q in combinations(table.numpy(), 2)]
    assert distances(table).tolist() == pytest.approx([min(pairs), np.mean(pairs)])


def test_the_set_is_the_same_whatever_was_drawn_before_and_never_shared():
    first = permutations(4, 10)
    torch.manual_seed(5)
    assert torch.equal(permutations(4, 10), first)
    first.zero_()
    assert permutations(4, 10).any()


@pytest.mark.parametrize("count, apart, found", [(25, 2, 24), (13, 3, 12), (5, 4, 4)])
def test_more_permutations_than_there_are(count, apart, found):
    with pytest.raises(ParamsError, match=f"only {found} permutations of 4 tiles .* not {count}: ask for fewer"):
        permutations(4, count, apart)


def test_a_solver_picks_every_permutation_and_never_one_more():
    solver = Solver(4, 3, 5, 24)
    picked = solver.pick(torch.rand(24_000, generator=torch.Generator().manual_seed(0))).bincount(minlength=24)
    assert len(picked) == 24 and picked.min() > 850 and picked.max() < 1150
    assert solver.pick(torch.tensor([0.0, 1 - 2**-24])).tolist() == [0, 23]
    assert solver.spread.tolist() == distances(permutations(4, 24)).tolist()


def test_a_solver_sees_the_tiles_of_an_image_in_their_order():
    solver = Solver(4, 3, 5, 24).eval()
    z = torch.randn(2 * 4, 3, generator=torch.Generator().manual_seed(0))
    whole = torch.stack([z[:4].relu().flatten(), z[4:].relu().flatten()])
    torch.testing.assert_close(solver(z), solver.head(whole))
    assert not torch.allclose(solver(z[[1, 0, 2, 3, 4, 5, 6, 7]])[0], solver(z)[0])

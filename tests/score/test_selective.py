"""Risk against coverage: a plain loop, known ends, and equals that come in any order."""

import pytest
import torch

from pipeline.score.selective import selective

SIZES = (2, 3, 17, 500)


def drawn(n):
    chance = torch.Generator().manual_seed(n)
    return torch.rand(n, generator=chance, dtype=torch.float64), torch.rand(n, generator=chance) < 0.7


def by_loop(confidence, right):
    """The risk of keeping the m surest, for each m."""
    order = sorted(range(len(confidence)), key=lambda i: -confidence[i])
    return [sum(not right[i] for i in order[:m]) / m for m in range(1, len(order) + 1)]


@pytest.mark.parametrize("n", SIZES)
def test_aurc_and_curve(n):
    confidence, right = drawn(n)
    risks = by_loop(confidence.tolist(), right.tolist())
    aurc, rows = selective(confidence, right)
    assert aurc == pytest.approx(sum(risks) / n)
    assert len(rows) == min(n, 20)
    for row in rows:
        assert row["coverage"] == row["n"] / n
        assert row["risk"] == pytest.approx(risks[row["n"] - 1])
        assert int((confidence >= row["confidence"]).sum()) == row["n"]
    assert rows[-1]["coverage"] == 1
    assert rows[-1]["risk"] == pytest.approx(1 - right.double().mean().item())


def test_the_rows_are_at_every_twentieth():
    assert [row["n"] for row in selective(*drawn(500))[1]] == list(range(25, 501, 25))


def test_known_ends():
    """All right is 0, all wrong 1; of the same errors the surest ones cost the most."""
    sure = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert selective(sure, torch.ones(4, dtype=torch.bool))[0] == 0
    assert selective(sure, torch.zeros(4, dtype=torch.bool))[0] == 1
    good, bad = torch.tensor([True, True, False, False]), torch.tensor([False, False, True, True])
    assert selective(sure, good)[0] == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert selective(sure, bad)[0] == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)


def test_equals_count_by_their_mean_whatever_their_order():
    """Of six equals with two errors, any number kept has a risk of a third; so has the mean of all orders."""
    right = torch.tensor([False, True, True, False, True, True])
    for order in (range(6), range(5, -1, -1)):
        aurc, rows = selective(torch.full((6,), 0.5), right[list(order)])
        assert aurc == pytest.approx(1 / 3)
        assert [row["risk"] for row in rows] == pytest.approx([1 / 3] * 6)


def test_of_one_sample_there_is_no_curve():
    assert selective(torch.tensor([0.7]), torch.tensor([True])) == (None, [])

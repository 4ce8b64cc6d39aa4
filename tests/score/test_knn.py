"""kNN against a loop over pairs."""

from math import exp

import pytest
import torch

from pipeline.score import knn as module
from pipeline.score.knn import knn


def naive(train, labels, test, classes, k, tau):
    votes = [[0.0] * classes for _ in test]
    for row, out in zip(test.double(), votes, strict=True):
        cos = [float(row @ other / (row.norm() * other.norm())) for other in train.double()]
        for neighbour in sorted(range(len(cos)), key=lambda i: -cos[i])[:k]:
            out[int(labels[neighbour])] += exp(cos[neighbour] / tau)
    return torch.tensor(votes, dtype=torch.float64)


def draw(m, n):
    chance = torch.Generator().manual_seed(m * n)
    return (
        torch.randn(m, 8, generator=chance) + 0.3,
        torch.randint(4, (m,), generator=chance),
        torch.randn(n, 8, generator=chance),
    )


@pytest.mark.parametrize(("m", "n", "k"), ((2, 3, 1), (17, 2, 5), (60, 17, 20), (10, 3, 20)))
def test_votes(m, n, k):
    train, labels, test = draw(m, n)
    votes = knn(train, labels, test, 4, k, tau=0.1)
    torch.testing.assert_close(votes, naive(train, labels, test, 4, k, 0.1), rtol=1e-5, atol=1e-4)


def test_block_size_does_not_matter(monkeypatch):
    train, labels, test = draw(60, 17)
    whole = knn(train, labels, test, 4)
    monkeypatch.setattr(module, "CELLS", 130)
    torch.testing.assert_close(knn(train, labels, test, 4), whole, rtol=1e-5, atol=1e-4)


def test_small_temperatures_do_not_overflow():
    train, labels, _ = draw(17, 3)
    votes = knn(train, labels, train, 4, tau=0.005)
    assert votes.isfinite().all()
    assert (votes.argmax(1) == labels).all()

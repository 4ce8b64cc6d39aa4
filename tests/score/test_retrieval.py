"""Retrieval: every image among all others, against a plain loop and scikit-learn."""

import numpy as np
import pytest
import torch

from pipeline.score import retrieval
from pipeline.score.retrieval import nearest, queries, score_retrieval, table


def draw(n, classes=4, dim=6):
    chance = torch.Generator().manual_seed(n)
    return torch.randn(n, dim, generator=chance), torch.randint(classes, (n,), generator=chance)


def by_hand(features, labels, k):
    from sklearn.metrics import average_precision_score

    x, y = features.double().numpy(), labels.numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    average, first = [], []
    for i in range(len(y)):
        others = np.delete(np.arange(len(y)), i)
        hit, cos = y[others] == y[i], x[others] @ x[i]
        if hit.any():
            average.append(average_precision_score(hit, cos))
            first.append(hit[np.argsort(-cos, kind="stable")][:k].mean())
    return np.mean(average), np.mean(first)


@pytest.mark.parametrize("n", (3, 17, 200))
@pytest.mark.parametrize("cells", (1, 1 << 22))
def test_equals_a_plain_loop_in_blocks_of_any_size(n, cells, monkeypatch):
    monkeypatch.setattr(retrieval, "CELLS", cells)
    features, labels = draw(n, classes=2 if n == 3 else 4)
    found = score_retrieval(features, labels)
    assert (found["map"], found["precision_at_8"]) == pytest.approx(by_hand(features, labels, 8))


def test_classes_that_lie_apart_are_found_whole_and_one_point_gives_their_shares():
    labels = torch.arange(60) % 3
    assert score_retrieval(torch.eye(3)[labels], labels) == {"map": 1.0, "precision_at_8": 1.0}
    mixed = labels[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert score_retrieval(torch.ones(60, 3), mixed)["map"] == pytest.approx(1 / 3, abs=0.06)


def test_a_query_is_never_its_own_neighbour():
    features, _ = draw(40)
    features[7] = features[3]
    rows = torch.arange(40)
    cosines, near = nearest(features, rows, 39)
    assert all(sorted([*found.tolist(), row]) == list(range(40)) for row, found in enumerate(near))
    assert (near[3, 0], near[7, 0]) == (7, 3) and cosines[3, 0] == 1
    assert (cosines.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("asked", (1, 3, 23))
def test_of_equally_near_images_the_lower_row_comes_first(asked):
    features = torch.randn(5, 97, generator=torch.Generator().manual_seed(1)).repeat(8, 1)
    rows = torch.arange(asked)
    same = [[other for other in range(row % 5, 40, 5) if other != row] for row in rows.tolist()]
    assert nearest(features, rows, 7)[1].tolist() == same


def test_without_another_of_its_class_there_is_nothing_to_find():
    assert score_retrieval(torch.eye(3), torch.arange(3)) == {"map": None, "precision_at_8": None}
    assert score_retrieval(torch.eye(1), torch.zeros(1, dtype=torch.int64)) == {"map": None, "precision_at_8": None}
    features, labels = draw(30)
    labels[4] = 9
    assert score_retrieval(features, labels)["map"] == pytest.approx(by_hand(features, labels, 8)[0])


def test_queries_are_one_of_each_class_of_at_most_ten():
    labels = torch.tensor([5, 2, 2, 5, 9, 2])
    assert labels[queries(labels, 0)].tolist() == [2, 5, 9]
    assert len({tuple(queries(labels, seed).tolist()) for seed in range(20)}) > 2
    many = torch.arange(400) % 40
    rows = queries(many, 3)
    assert len(rows) == len(many[rows].unique()) == 10
    assert torch.equal(rows, queries(many, 3))


def test_the_table_names_what_was_found():
    features, labels = draw(12, classes=2)
    rows = queries(labels, 0)
    cosines, near = nearest(features, rows, 3)
    written = table([f"key-{i}" for i in range(12)], labels.tolist(), ["cat", "dog"], rows, cosines, near)
    assert [row["rank"] for row in written] == [1, 2, 3] * 2
    for row, (query, other) in zip(written, [(q, o) for q, o in zip(rows, near, strict=True) for o in o], strict=True):
        assert (row["query"], row["neighbour"]) == (f"key-{query}", f"key-{other}")
        assert (row["class"], row["neighbour_class"]) == tuple(["cat", "dog"][labels[i]] for i in (query, other))

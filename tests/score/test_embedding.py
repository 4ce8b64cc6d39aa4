"""The map: neighbours stay neighbours, the same bytes come again, and what cannot be drawn is empty."""

import numpy as np
import pytest
import torch
from sklearn.manifold import TSNE, trustworthiness
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.score.embedding import MOST, drawn, embedding

CLASSES = ["ant", "bee", "cow"]


def blobs(n=40, dims=16, apart=3.0):
    """Three clouds around orthogonal directions, of n images each."""
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(n)
    return torch.randn(3 * n, dims, generator=chance) * 0.3 + apart * torch.eye(dims)[labels], labels


def places(rows):
    return np.array([[row["x"], row["y"]] for row in rows])


@pytest.fixture(scope="module")
def mapped():
    features, labels = blobs()
    return features, labels, embedding(features, labels, CLASSES)


def test_rows_are_the_images_in_their_order_and_fill_the_map(mapped):
    _, labels, rows = mapped
    assert [row["class"] for row in rows] == [CLASSES[label] for label in labels]
    at = places(rows)
    assert at.min() == 0 and at.max() == 1 and (at.min(0) == 0).all()
    assert all(row[axis] == round(row[axis], 3) for row in rows for axis in "xy")


def test_clouds_that_lie_apart_stay_apart_and_neighbours_stay_neighbours(mapped):
    features, labels, rows = mapped
    away = np.linalg.norm(places(rows)[:, None] - places(rows)[None], axis=2) + 9 * np.eye(len(rows))
    assert (labels.numpy()[away.argmin(1)] == labels.numpy()).all()
    unit = torch.nn.functional.normalize(features).numpy()
    assert trustworthiness(unit, places(rows), n_neighbors=10) > 0.85
    assert trustworthiness(unit, np.random.default_rng(0).random((len(rows), 2)), n_neighbors=10) < 0.6


def test_only_directions_count(mapped):
    """Powers of two, that no float is rounded otherwise."""
    features, labels, rows = mapped
    scale = 2.0 ** (torch.arange(len(labels)) % 5 - 2)
    assert embedding(features * scale[:, None], labels, CLASSES) == rows


def test_the_number_of_threads_changes_nothing(mapped, monkeypatch):
    features, labels, rows = mapped
    seen, fit = [], TSNE.fit_transform

    def watched(self, *given):
        seen.append({pool["num_threads"] for pool in threadpool_info()})
        return fit(self, *given)

    monkeypatch.setattr(TSNE, "fit_transform", watched)
    with threadpool_limits(2):
        assert embedding(features, labels, CLASSES) == rows
        assert {2} <= {pool["num_threads"] for pool in threadpool_info()}
    assert seen == [{1}]


def test_what_cannot_be_drawn_is_empty():
    features, labels = blobs(2)
    assert embedding(features[:4], labels[:4], CLASSES) == []
    assert len(embedding(features[:5], labels[:5], CLASSES)) == 5
    noise = 1e-8 * torch.randn(30, 8, generator=torch.Generator().manual_seed(1))
    assert embedding(torch.ones(30, 8) + noise, torch.arange(30) % 3, CLASSES) == []


def test_of_many_images_some_are_drawn_the_same_for_every_model():
    assert drawn(7, 0).tolist() == list(range(7))
    rows = drawn(10_000, 0)
    assert len(rows) == MOST == len(rows.unique()) and (rows.diff() > 0).all()
    assert torch.equal(rows, drawn(10_000, 0)) and not torch.equal(rows, drawn(10_000, 1))
    assert torch.histc(rows.float(), 10, 0, 10_000).min() > 150, "of all parts"

"""k-means: known clusters, empty clusters, and the same result however it is computed."""

import itertools

import pytest
import torch

from pipeline.nets import kmeans as module
from pipeline.nets.kmeans import _refilled, evenly, kmeans, nearest, whitened


@pytest.fixture
def blobs():
    """Four well separated groups of 50, 30, 15 and 5 points, and which is which."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.arange(4).repeat_interleave(torch.tensor([50, 30, 15, 5]))[torch.randperm(100, generator=draw)]
    return 10 * torch.eye(6)[truth] + torch.randn(100, 6, generator=draw), truth


def test_separate_groups_are_found(blobs):
    x, truth = blobs
    torch.manual_seed(0)
    found = min((kmeans(x, 4) for _ in range(10)), key=lambda fit: (x - fit[0][fit[1]]).square().sum())
    pairs = set(zip(found[1].tolist(), truth.tolist(), strict=True))
    assert len(pairs) == 4, "one cluster for each group"
    for cluster, group in pairs:
        torch.testing.assert_close(found[0][cluster], x[truth == group].mean(0))


def test_the_distance_falls_with_every_iteration(blobs):
    x, _ = blobs
    spread = []
    for iterations in range(8):
        torch.manual_seed(3)
        centroids, clusters = kmeans(x, 9, iterations)
        spread.append((x - centroids[clusters]).square().sum().item())
    assert all(after <= before + 1e-3 for before, after in itertools.pairwise(spread))


def test_seeded_and_the_same_for_any_chunk(blobs, monkeypatch):
    x, _ = blobs
    found = []
    for chunk in (7, 100, 16384):
        monkeypatch.setattr(module.nearest, "__defaults__", (chunk,))
        torch.manual_seed(1)
        found.append(kmeans(x, 9))
    for centroids, clusters in found[1:]:
        assert torch.equal(centroids, found[0][0]) and torch.equal(clusters, found[0][1])


def test_an_empty_cluster_shares_the_points_of_a_full_one(blobs):
    x, _ = blobs
    torch.manual_seed(0)
    centroids = torch.stack([x.mean(0), x.mean(0) + 1e6, x.mean(0) - 1e6])
    counts = nearest(x, centroids).bincount(minlength=3)
    assert counts.tolist() == [100, 0, 0]
    again = nearest(x, _refilled(centroids, counts)).bincount(minlength=3)
    assert (again > 0).sum() >= 2, "the points of the full one are split"


def test_no_cluster_stays_empty_where_points_repeat():
    """More clusters than distinct points cannot all be full; nothing breaks."""
    x = torch.zeros(10, 3).index_fill_(0, torch.tensor([7, 8, 9]), 5.0)
    torch.manual_seed(0)
    centroids, clusters = kmeans(x, 4)
    assert centroids.isfinite().all() and clusters[:7].unique().numel() >= 1
    assert not set(clusters[:7].tolist()) & set(clusters[7:].tolist())


def test_too_few_images_is_an_error():
    with pytest.raises(ValueError, match="3 images do not fill 4 clusters"):
        kmeans(torch.zeros(3, 2), 4)


def test_spherical_centroids_have_length_one(blobs):
    x = torch.nn.functional.normalize(blobs[0])
    torch.manual_seed(0)
    assert torch.allclose(kmeans(x, 5, spherical=True)[0].norm(dim=1), torch.ones(5))


def test_whitened_features_have_equal_variance_and_length_one():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 5, generator=draw) * torch.tensor([9.0, 5.0, 3.0, 1.0, 0.1]) + 7
    found = whitened(x, 3)
    assert found.shape == (4000, 3) and torch.allclose(found.norm(dim=1), torch.ones(4000, dtype=found.dtype))
    covariance = found.T @ found / len(found)
    torch.testing.assert_close(covariance, torch.eye(3, dtype=found.dtype) / 3, atol=0.02, rtol=0)


def test_rows_are_even_over_clusters_and_leave_empty_ones_out():
    clusters = torch.tensor([0] * 900 + [2] * 90 + [5] * 10)
    torch.manual_seed(0)
    rows = evenly(clusters)
    counts = clusters[rows].bincount(minlength=6)
    assert len(rows) == 1000 and counts[[1, 3, 4]].sum() == 0
    assert all(abs(count - 333) < 60 for count in counts[[0, 2, 5]].tolist())

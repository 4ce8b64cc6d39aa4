"""k-means: known clusters, empty clusters, and the same result however it is computed."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.losses import unit
from pipeline.nets import kmeans as module
from pipeline.nets.kmeans import _refilled, evenly, kmeans, nearest, spread, tightest, unassigned, whitened
from tests.gloo import both


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


def test_starts_that_lie_far_apart_are_in_different_groups(blobs):
    """Rows drawn evenly are so in 1 of 35 cases; no row is drawn twice, but where all are the same."""
    x, truth = blobs
    tight = 10 * torch.eye(6)[truth] + 0.05 * (x - 10 * torch.eye(6)[truth])
    for seed in range(20):
        torch.manual_seed(seed)
        assert truth[spread(tight, 4)].unique().numel() == 4
    assert spread(x, 100).unique().numel() == 100
    assert spread(torch.ones(5, 2), 3).shape == (3,)
    torch.testing.assert_close(kmeans(x, 4, 0, start=torch.tensor([9, 7, 5, 3]))[0], x[[9, 7, 5, 3]])


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


def test_a_cluster_of_one_point_has_nothing_to_share():
    """Split, it would leave an empty one behind: all of the empty go to the cluster that has more."""
    x = torch.cat([10.0 + torch.arange(6.0), torch.tensor([-50.0, -90.0])])[:, None]
    centroids, counts = torch.tensor([[12.5], [-50.0], [-90.0], [1e6], [2e6]]), torch.tensor([6, 1, 1, 0, 0])
    for seed in range(20):
        torch.manual_seed(seed)
        again = nearest(x, _refilled(centroids, counts)).bincount(minlength=5)
        assert again[1] == again[2] == 1


def test_a_cluster_for_each_point_is_found():
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert kmeans(x, 60)[1].unique().numel() == 60


@pytest.mark.parametrize("k", [5, 90])
def test_spherical_centroids_have_length_one(blobs, k):
    """Also those that filled an empty cluster: points that repeat leave some empty."""
    x = torch.nn.functional.normalize(blobs[0]).repeat_interleave(2, 0)[:100]
    torch.manual_seed(0)
    torch.testing.assert_close(kmeans(x, k, spherical=True)[0].norm(dim=1), torch.ones(k), atol=1e-6, rtol=0)


def test_spherical_centroids_are_the_directions_of_their_means(blobs):
    x = torch.nn.functional.normalize(blobs[0])
    torch.manual_seed(0)
    centroids, clusters = kmeans(x, 4, 30, spherical=True)
    assert torch.equal(clusters, (x @ centroids.T).argmax(1)), "the nearest of length 1 is the one of the least angle"
    for cluster in clusters.unique():
        mean = x[clusters == cluster].mean(0)
        torch.testing.assert_close(centroids[cluster], mean / mean.norm(), atol=1e-5, rtol=0)


def _clustered(rank, world):
    torch.manual_seed(0)
    return kmeans(torch.randn(50, 3, generator=torch.Generator().manual_seed(rank)), 6)


@pytest.mark.slow  # two processes import torch
def test_all_processes_get_the_clusters_of_the_first():
    """Their features may differ in the last bits, and then their clusters, and with them the rows of a batch."""
    alone = _clustered(0, 1)
    for found in both(_clustered, 2):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(alone, found, strict=True))


@pytest.mark.parametrize(("images", "k"), [(10, 11), (10, 1), (10, 0)])
def test_images_that_cannot_be_clustered_are_refused(images, k):
    with pytest.raises(ParamsError, match=f"{k} clusters of 10 unlabelled images"):
        unassigned(images, k)


def test_there_is_room_for_the_cluster_of_each_image():
    assert unassigned(7, 7).shape == (7,) and unassigned(7, 2, 3).shape == (3, 7)


def test_whitened_features_have_equal_variance_and_length_one():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 5, generator=draw) * torch.tensor([9.0, 5.0, 3.0, 1.0, 0.1]) + 7
    found = whitened(x, 3)
    assert found.shape == (4000, 3) and torch.allclose(found.norm(dim=1), torch.ones(4000, dtype=found.dtype))
    covariance = found.T @ found / len(found)
    torch.testing.assert_close(covariance, torch.eye(3, dtype=found.dtype) / 3, atol=0.02, rtol=0)


def test_whitening_is_that_of_numpy_for_any_chunk(monkeypatch):
    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 7))
    centred = x.double().numpy() - x.double().numpy().mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :4] / np.sqrt(1 + 1e-5 * values[0] ** 2 / values[:4] ** 2)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for chunk in (7, 100, 16384):
        monkeypatch.setattr(module, "CHUNK", chunk)
        found = whitened(x, 4).double().numpy()
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)


def test_the_scale_of_the_features_does_not_matter():
    """A floor on the variance that is no share of it switches whitening off for a network whose outputs are small."""
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 5.0, 3.0, 1.0])
    torch.testing.assert_close(whitened(1e-4 * x, 4).abs(), whitened(x, 4).abs(), atol=1e-4, rtol=1e-4)


def test_features_that_are_all_alike_are_whitened_to_nothing():
    assert torch.equal(whitened(torch.full((20, 3), 7.0), 2), torch.zeros(20, 2))


def test_rows_are_even_over_clusters_and_leave_empty_ones_out():
    clusters = torch.tensor([0] * 900 + [2] * 90 + [5] * 10)
    torch.manual_seed(0)
    rows = evenly(clusters)
    assert sorted(clusters[rows].bincount(minlength=6).tolist()) == [0, 0, 0, 333, 333, 334]


def test_the_images_of_a_cluster_come_in_turn():
    clusters = torch.tensor([0] * 900 + [2] * 90 + [5] * 10)
    torch.manual_seed(0)
    seen = [evenly(clusters).bincount(minlength=1000) for _ in range(2)]
    assert not torch.equal(*seen), "another epoch draws others"
    for times in seen:
        assert times[:900].max() == 1, "of a large cluster a part, none twice"
        assert set(times[900:990].tolist()) == {3, 4} and set(times[990:].tolist()) == {33, 34}


def test_the_tightest_clusters_of_several_starts_are_kept():
    """Nine groups of 40: from one start k-means may split one and join two others; of ten some start finds all."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.arange(9).repeat_interleave(40)
    x = unit(torch.eye(12)[truth] + 0.05 * torch.randn(360, 12, generator=draw))
    for seed in range(5):
        found = tightest(x, 9, seed, "groups")
        assert len(set(zip(truth.tolist(), found.tolist(), strict=True))) == 9

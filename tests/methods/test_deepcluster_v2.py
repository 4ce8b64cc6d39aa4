"""DeepCluster-v2: centroids that are the classifier, clusterings of remembered features."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.losses import unit
from pipeline.nets.branch import together
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("deepcluster_v2", "pretext")


def clustered(**knobs):
    method, batches = task.method(ENTRY, **knobs), task.batches(ENTRY)
    torch.manual_seed(5)
    assert method.before_epoch(lambda network: task.see(batches, network)) == (), "there is no classifier to forget"
    return method, batches


@pytest.mark.parametrize("size", [2, 3, 17])
def test_the_loss_is_the_cross_entropy_of_cosines_with_the_centroids(size):
    method, _ = clustered(tau=0.2)
    a, b = torch.randn(2, size, 1, 8, 8)
    index = torch.randperm(1797)[:size]
    with torch.no_grad():
        views = [z.double().numpy() for z in together(method.online, a, b)]
    losses = []
    for centroids, clusters in zip(method.prototypes.double().numpy(), method.clusters.numpy(), strict=True):
        for z in views:
            cosines = (z / np.linalg.norm(z, axis=1, keepdims=True)) @ centroids.T
            losses.append(oracle_cross_entropy(cosines / 0.2, np.eye(100)[clusters[index]]).mean())
    assert method(a=a, b=b, index=index).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_features_on_their_own_centroid_cost_the_floor_and_centroids_that_are_alike_chance():
    method, batches = clustered(dim=8, k=8, hidden=8, heads=1)
    batch = batches.at(0)
    method.prototypes.copy_(torch.ones(1, 8, 8))
    assert method(**batch).item() == pytest.approx(method.chance, rel=1e-5)
    method.prototypes.copy_(torch.eye(8)[None])
    with torch.no_grad():
        method.online.head[-1].weight.zero_()
        method.online.head[-1].bias.copy_(torch.eye(8)[3])  # all features on the third
    method.clusters.fill_(3)
    assert method(**batch).item() == pytest.approx(np.log(1 + 7 * np.exp(-1 / 0.1)), rel=1e-3)


def test_each_clustering_is_a_fixed_point_of_the_remembered_features():
    """Centroids of length 1 and assignments belong together; clusterings differ, by crop and by their draws."""
    method, _ = clustered(heads=3)
    for head in range(3):
        nearest = (method.bank[head % 2] @ method.prototypes[head].T).argmax(1)
        assert (nearest == method.clusters[head]).float().mean() > 0.999
    torch.testing.assert_close(method.prototypes.norm(dim=2), torch.ones(3, 100))
    assert not torch.equal(method.clusters[0], method.clusters[2])


def test_clusterings_take_the_crops_in_turn():
    method, _ = clustered(heads=3)
    method.bank[1] = unit(torch.randn(1797, 16))
    torch.manual_seed(5)
    before = method.clusters.clone()
    method.before_epoch(None)
    assert torch.equal(method.clusters[0], before[0]), "the first crop's features are what they were"
    assert not torch.equal(method.clusters[1], before[1])


def test_the_first_clusters_are_those_of_features_and_not_of_noise():
    method, batches = clustered()
    expected = unit(task.see(batches, method.online))
    assert torch.equal(method.bank, torch.stack([expected, expected]))


def test_what_was_seen_is_remembered_after_the_yield_in_its_row():
    method, batches = clustered()
    batch, before = batches.at(0), method.bank.clone()
    method(**batch).backward()
    assert torch.equal(method.bank, before), "a bank that is written before the yield: peers' queues"
    with torch.no_grad():
        expected = [unit(z) for z in together(method.online, batch["a"], batch["b"])]
    method.remember()
    torch.testing.assert_close(method.bank[:, batch["index"]], torch.stack(expected))
    others = torch.ones(1797, dtype=torch.bool).index_fill_(0, batch["index"], False)
    assert torch.equal(method.bank[:, others], before[:, others])


def test_memory_is_made_in_the_constructor_and_is_state():
    """solo-learn makes it when training starts, and cannot load it again (`Unexpected key(s)`)."""
    assert {"bank", "clusters", "prototypes"} <= task.method(ENTRY).state_dict().keys()
    assert not any(name.startswith("prototypes") for name, _ in task.method(ENTRY).named_parameters())


@pytest.mark.slow
def test_digits_do_not_collapse_to_one_cluster(tmp_path):
    method = task.method(ENTRY, width=8)
    task.train(method, task.batches(ENTRY, batch=128, gentle=True), tmp_path, 100, lr=0.2)
    for clusters in method.clusters:
        share = clusters.bincount(minlength=100) / 1797
        assert torch.exp(torch.special.entr(share).sum()) > 50 and share.max() < 0.1


@pytest.mark.parametrize(("heads", "k", "dim"), [(1, 10, 4), (3, 20, 16)])
def test_each_clustering_has_k_centroids(heads, k, dim):
    method, _ = clustered(heads=heads, k=k, dim=dim)
    assert method.prototypes.shape == (heads, k, dim) and method.clusters.shape == (heads, 1797)
    assert method.clusters.amax() < k


def test_more_clusters_than_images_is_said_before_training():
    with pytest.raises(ParamsError, match="3000 clusters of 1797 unlabelled images"):
        task.method(ENTRY, k=3000)

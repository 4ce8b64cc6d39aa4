"""Clusters against classes: scikit-learn, ends that are known, and features that say nothing."""

import pytest
import torch

from pipeline.losses import unit
from pipeline.nets.kmeans import tightest
from pipeline.score.clusters import purity, score_clusters


def blobs(spread, n=120, classes=4):
    labels = torch.arange(n) % classes
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(0)) * spread + torch.eye(classes, 8)[
        labels
    ], labels


def test_classes_that_lie_apart_are_clusters():
    assert score_clusters(*blobs(0.05), 4) == pytest.approx({"nmi": 1, "ari": 1, "purity": 1})


def test_features_that_say_nothing_are_at_chance():
    features, labels = blobs(100.0, n=2000)
    found = score_clusters(features, labels, 4)
    assert abs(found["ari"]) < 0.02 and found["nmi"] < 0.02
    assert 0.25 < found["purity"] < 0.32, "purity has no correction for chance, a quarter here and a little more"


def test_measures_of_the_clusters_that_k_means_found():
    """The contingency table by hand; mutual information over the mean of the entropies."""
    features, labels = blobs(0.5)
    found = tightest(unit(features), 4, 3, "clusters")
    p = torch.zeros(4, 4, dtype=torch.float64)
    for cluster, label in zip(found.tolist(), labels.tolist(), strict=True):
        p[cluster, label] += 1 / 120

    def entropy(q):
        return -(q[q > 0] * q[q > 0].log()).sum()

    mutual = entropy(p.sum(0)) + entropy(p.sum(1)) - entropy(p.flatten())
    scores = score_clusters(features, labels, 4, seed=3)
    assert 0.3 < scores["nmi"] < 0.9
    assert scores["nmi"] == pytest.approx((2 * mutual / (entropy(p.sum(0)) + entropy(p.sum(1)))).item())
    assert scores["purity"] == pytest.approx(p.amax(1).sum().item())
    pairs = [(found[i] == found[j], labels[i] == labels[j]) for i in range(120) for j in range(i)]
    same, in_cluster, in_class = (sum(a and b for a, b in pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs))
    chance = in_cluster * in_class / len(pairs)
    assert scores["ari"] == pytest.approx(float((same - chance) / ((in_cluster + in_class) / 2 - chance)), abs=1e-6)


def test_purity_is_by_cluster_and_not_by_class():
    assert purity(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0]), 2) == 0.75
    assert purity(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 0, 0]), 4) == 1
    assert purity(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 1, 2, 3]), 4) == 0.25


def test_the_length_of_a_feature_does_not_count_and_the_global_generator_is_left_alone():
    features, labels = blobs(0.3)
    before = torch.random.get_rng_state()
    whole = score_clusters(features, labels, 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert score_clusters(features * torch.rand(120, 1).add(0.1), labels, 4) == pytest.approx(whole)


@pytest.mark.parametrize("labels", ([0, 1, 2], [1, 1, 1, 1, 1]), ids=("fewer images than classes", "one class"))
def test_where_there_is_nothing_to_compare_all_are_none(labels):
    features = torch.randn(len(labels), 8)
    assert score_clusters(features, torch.tensor(labels), 4) == {"nmi": None, "ari": None, "purity": None}

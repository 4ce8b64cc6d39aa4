"""Whether the classes lie apart in frozen features without any label: k-means clusters against the classes."""

from __future__ import annotations

from torch import Tensor

from pipeline.losses import unit
from pipeline.nets.kmeans import tightest
from pipeline.score.accuracy import confusion

METRICS = ("nmi", "ari", "purity")


def score_clusters(features: Tensor, labels: Tensor, classes: int, seed: int = 0) -> dict[str, float | None]:
    """`nmi` (mutual information over the mean of the two entropies), `ari` (adjusted Rand index) and `purity`.

    Of features (n, D) at length 1, in as many clusters as there are classes, against labels (n,): the best of ten
    spherical k-means. All None where there are fewer images than classes, or where they are of one class.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if len(features) < classes or len(labels.unique()) < 2:
        return dict.fromkeys(METRICS)
    found = tightest(unit(features), classes, seed, "clusters")
    nmi, ari = normalized_mutual_info_score(labels, found), adjusted_rand_score(labels, found)
    return {"nmi": float(nmi), "ari": float(ari), "purity": purity(found, labels, classes)}


def purity(clusters: Tensor, labels: Tensor, classes: int) -> float:
    """Share of images whose class is the most frequent of their cluster; clusters and labels (n,), both below K."""
    return confusion(clusters, labels, classes).amax(0).sum().item() / len(labels)

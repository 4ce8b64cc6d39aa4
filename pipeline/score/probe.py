"""Everything `evaluate` says about a frozen encoder."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pipeline.score.accuracy import top_k, wilson
from pipeline.score.clusters import score_clusters
from pipeline.score.collapse import effective_rank, feature_std
from pipeline.score.knn import TAU, K, knn
from pipeline.score.linear import linear


def score_probe(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    classes: int,
    k: int = K,
    seed: int = 0,
) -> dict[str, Any]:
    """Test accuracy of kNN and of a linear probe, each with its 95 % interval; feature_std and effective_rank; nmi, ari
    and purity of clusters; `knn_k` neighbours that vote, at the temperature `knn_tau`.

    Features (m, D) of the labelled images, (n, D) of the test images. A collapsed encoder is scored, not refused.
    """
    votes = knn(train_features, train_labels, test_features, classes, k)
    shares = {
        "knn": top_k(votes, test_labels, 1),
        "linear": linear(train_features, train_labels, test_features, test_labels, classes, seed)[0],
    }
    metrics: dict[str, Any] = {
        "n": len(test_labels),
        "feature_std": feature_std(F.normalize(test_features.float(), dim=1)),
        "effective_rank": effective_rank(test_features),
        "knn_k": min(k, len(train_features)),
        "knn_tau": TAU,
        **score_clusters(test_features, test_labels, classes, seed),
    }
    for name, share in shares.items():
        low, high = wilson(share, len(test_labels))
        metrics |= {name: share, f"{name}_low": low, f"{name}_high": high}
    return metrics

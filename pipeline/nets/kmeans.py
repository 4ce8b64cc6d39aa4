"""k-means over the features of a whole set, and what goes before and after it in DeepCluster."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.losses import unit

CHUNK = 16384
"""rows whose distances are in memory at once"""


def kmeans(x: Tensor, k: int, iterations: int = 20, spherical: bool = False) -> tuple[Tensor, Tensor]:
    """(centroids (k, D), clusters (n,)) of x (n, D), by Lloyd's iterations from k distinct rows.

    Where a cluster is empty, its centroid becomes that of a random non-empty one, a little perturbed, and the two share
    its points (Caron et al. 2018, arXiv:1807.05520, section 3.3). `spherical` keeps centroids at length 1. Draws from
    torch's global generator. Raises ValueError where there are fewer than k rows.
    """
    if len(x) < k:
        raise ValueError(f"{len(x)} images do not fill {k} clusters")
    centroids = x[torch.randperm(len(x))[:k]].float()
    for _ in range(iterations):
        clusters = nearest(x, centroids)
        counts = clusters.bincount(minlength=k)
        sums = torch.zeros(k, x.shape[1], dtype=torch.float64, device=x.device).index_add_(0, clusters, x.double())
        means = (sums / counts.clamp_min(1)[:, None]).float()
        centroids = _refilled(unit(means) if spherical else means, counts)
    return centroids, nearest(x, centroids)


def nearest(x: Tensor, centroids: Tensor, chunk: int = CHUNK) -> Tensor:
    """The nearest centroid of each row, (n,): argmin |x - c|^2 = argmin |c|^2 - 2 x c."""
    squares = (centroids * centroids).sum(1)
    return torch.cat([(squares - 2 * rows.float() @ centroids.T).argmin(1) for rows in x.split(chunk)])


def _refilled(centroids: Tensor, counts: Tensor, scale: float = 1e-4) -> Tensor:
    """Each empty cluster beside a non-empty one, the two pushed apart by a random sign in each dimension."""
    centroids = centroids.clone()
    full = counts.nonzero().flatten()
    for empty in (counts == 0).nonzero().flatten():
        split = full[torch.randint(len(full), ())]
        push = scale * (centroids[split].abs() + scale) * (torch.rand(centroids.shape[1]) - 0.5).sign().to(centroids)
        centroids[empty] = centroids[split] + push
        centroids[split] = centroids[split] - push
    return centroids


def whitened(x: Tensor, dim: int) -> Tensor:
    """The first `dim` principal components of x (n, D), each of unit variance, rows of length 1: (n, min(dim, D))."""
    centred = x.double() - x.double().mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
    return unit(centred @ vectors / (values.clamp_min(0) + 1e-5).sqrt())


def evenly(clusters: Tensor) -> Tensor:
    """As many rows as there are images, (n,): a non-empty cluster drawn uniformly, then an image of it."""
    n, order = len(clusters), clusters.argsort(stable=True)
    counts = clusters.bincount()
    starts, full = counts.cumsum(0) - counts, counts.nonzero().flatten()
    drawn = full[torch.randint(len(full), (n,))]
    return order[starts[drawn] + (torch.rand(n) * counts[drawn]).long()]

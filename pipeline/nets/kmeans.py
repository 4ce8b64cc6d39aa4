"""k-means over the features of a whole set, and what goes before and after it in DeepCluster."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline import seed
from pipeline.errors import ParamsError
from pipeline.losses import unit

CHUNK = 16384
"""rows whose distances are in memory at once"""
STARTS = 10
"""of `tightest`: what k-means finds depends on the rows that it begins with"""


def unassigned(images: int, k: int, *heads: int) -> Tensor:
    """Room for the cluster of each image, (*heads, images). Raises ParamsError where the images cannot be clustered."""
    if not 1 < k <= images:
        raise ParamsError(f"knobs.k: {k} clusters of {images} unlabelled images; choose 2 to {images}")
    return torch.zeros(*heads, images, dtype=torch.int64)


def kmeans(
    x: Tensor, k: int, iterations: int = 20, spherical: bool = False, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(centroids (k, D), clusters (n,)) of x (n, D), by Lloyd's iterations from k distinct rows, or from `start` (k,).

    Where a cluster is empty, its centroid becomes that of a random one that has points to share, a little perturbed,
    and the two share them (Caron et al. 2018, arXiv:1807.05520, section 3.3). `spherical` keeps centroids at length 1.
    Draws from torch's global generator, on the CPU. All processes get what the first finds, as features of two devices,
    or of BatchNorms that saw other images, need not agree. Raises ValueError where there are fewer than k rows.
    """
    if len(x) < k:
        raise ValueError(f"{len(x)} images do not fill {k} clusters")
    centroids = x[torch.randperm(len(x))[:k] if start is None else start].float()
    for _ in range(iterations):
        clusters = nearest(x, centroids)
        counts = clusters.bincount(minlength=k)
        sums = torch.zeros(k, x.shape[1], dtype=torch.float64, device=x.device).index_add_(0, clusters, x.double())
        means = (sums / counts.clamp_min(1)[:, None]).float()
        centroids = _refilled(means, counts)
        centroids = unit(centroids) if spherical else centroids
    found = centroids, nearest(x, centroids)
    if dist.is_available() and dist.is_initialized():
        for each in found:
            dist.broadcast(each, 0)
    return found


def spread(x: Tensor, k: int) -> Tensor:
    """k rows of x (n, D) that lie far apart, (k,): each drawn by the square of its distance from those before it.

    k-means++ (Arthur and Vassilvitskii 2007). A few hundred rows at most: each is a pass over x.
    """
    rows, far = torch.randint(len(x), (1,)), torch.full((len(x),), torch.inf)
    while len(rows) < k:
        far = far.minimum((x - x[rows[-1]]).square().sum(1).cpu())
        rows = torch.cat([rows, far.clamp_min(1e-30).double().multinomial(1)])
    return rows


def tightest(x: Tensor, k: int, run_seed: int, purpose: str) -> Tensor:
    """The cluster of each row (n,) of x (n, D), whose rows have length 1: the best of ten spherical k-means."""
    fits = []
    with torch.random.fork_rng(devices=[]):
        for start in range(STARTS):
            seed.everything(run_seed, purpose, start)
            centroids, found = kmeans(x, k, spherical=True, start=spread(x, k))
            fits.append(((x * centroids[found]).sum().item(), found))
    return max(fits, key=lambda fit: fit[0])[1]


def nearest(x: Tensor, centroids: Tensor, chunk: int = CHUNK) -> Tensor:
    """The nearest centroid of each row, (n,): argmin |x - c|^2 = argmin |c|^2 - 2 x c."""
    squares = (centroids * centroids).sum(1)
    return torch.cat([(squares - 2 * rows.float() @ centroids.T).argmin(1) for rows in x.split(chunk)])


def _refilled(centroids: Tensor, counts: Tensor, scale: float = 1e-4) -> Tensor:
    """Each empty cluster beside one of two points or more, the two pushed apart by a random sign in each dimension."""
    centroids = centroids.clone()
    full = (counts > 1).nonzero().flatten().tolist()
    for empty in (counts == 0).nonzero().flatten().tolist():
        split = full[int(torch.randint(len(full), ()))]
        push = scale * (centroids[split].abs() + scale) * (torch.rand(centroids.shape[1]) - 0.5).sign().to(centroids)
        centroids[empty] = centroids[split] + push
        centroids[split] = centroids[split] - push
    return centroids


def whitened(x: Tensor, dim: int) -> Tensor:
    """The first `dim` principal components of x (n, D), each of unit variance, rows of length 1: (n, min(dim, D)).

    A component whose variance is less than 1e-5 of the first one's is damped: it may be no more than rounding.
    """
    mean = x.mean(0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=x.device)
    for rows in x.split(CHUNK):
        covariance += (rows - mean).T @ (rows - mean) / len(x)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
    axes = vectors / (values + 1e-5 * values[0]).clamp_min(1e-30).sqrt()
    return torch.cat([unit((rows - mean) @ axes) for rows in x.split(CHUNK)])


def evenly(clusters: Tensor) -> Tensor:
    """As many rows as there are images, (n,): of each non-empty cluster the same number, give or take one.

    The images of a cluster come in turn, in random order: again and again where it is small, a part where it is large.
    """
    n = len(clusters)
    shuffled = torch.randperm(n).to(clusters.device)
    order = shuffled[clusters[shuffled].argsort(stable=True)]
    counts = clusters.bincount()
    full = counts.nonzero().flatten()
    turn = torch.arange(n, device=clusters.device)
    drawn = full[torch.randperm(len(full)).to(full.device)][turn % len(full)]
    return order[(counts.cumsum(0) - counts)[drawn] + turn // len(full) % counts[drawn]]

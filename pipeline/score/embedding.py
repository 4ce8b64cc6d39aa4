"""A map of the test images: t-SNE of their features (van der Maaten and Hinton 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.losses import unit
from pipeline.seed import generator, number

MOST, DIMENSIONS, PERPLEXITY = 2000, 50, 30.0  # images drawn; dimensions left of the features; neighbours that count
FEWEST = 5  # images that can be called a map
STEPS = 500  # of digits, 1,000 make the trustworthiness .9949 instead of .9946


def drawn(n: int, seed: int) -> Tensor:
    """The rows of the n test images that are on the map, in order: at most 2,000 by lot, the same for every model."""
    return torch.randperm(n, generator=generator(seed, "embedding"))[:MOST].sort().values


def embedding(features: Tensor, labels: Tensor, classes: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Rows {x, y, class} in the order of features (n, D) and labels (n,); the longer side of the map is 0 to 1.

    Features at length 1, as kNN sees them, their first 50 principal components, from there t-SNE with perplexity 30, or
    a third of the other images. Who is beside whom is kept; how far groups lie apart, and how large they are, is not.
    On one thread, so that how many there are changes nothing; its steps are so small that they would wait for one
    another. Empty for fewer than five images, and where all features are one point.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = unit(features).cpu().numpy()
    if len(points) < FEWEST or np.ptp(points, axis=0).max() < 1e-6:
        return []
    perplexity, state = min(PERPLEXITY, (len(points) - 1) / 3), number(seed, "t-SNE") % 2**32
    with threadpool_limits(1):
        points = PCA(min(DIMENSIONS, *points.shape), svd_solver="full").fit_transform(points)
        tsne = TSNE(perplexity=perplexity, init="pca", max_iter=STEPS, random_state=state)
        places = tsne.fit_transform(points).astype(float)
    places = (places - places.min(0)) / np.ptp(places, axis=0).max()
    return [
        {"x": round(x, 3), "y": round(y, 3), "class": classes[label]}
        for (x, y), label in zip(places.tolist(), labels.tolist(), strict=True)
    ]

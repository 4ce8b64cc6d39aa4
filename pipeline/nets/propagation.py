"""Labels of a few images, spread to all others over a graph of neighbours (Iscen et al. 2019, arXiv:1904.04717)."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import cg
from torch import Tensor, nn

from pipeline.losses import unit

ROWS = 1024
"""whose similarities to all others are in memory at once"""


def neighbour_graph(features: Tensor, k: int, gamma: float, clip: bool = True) -> sparse.csr_array:
    """D^-1/2 W D^-1/2, (N, N), W = A + A^T, where A_ij is max(cos, 0)^gamma for the k nearest j of i, itself not one.

    features: (N, D), on the CPU. A row whose neighbours do not add up to more than 0 stays empty. Without `clip` a
    cosine below 0 keeps its sign, as in the authors' code, and the graph is no longer one of shares.
    """
    v, n = unit(features), len(features)
    k, near, similarities = min(k, n - 1), [], []
    for start in range(0, n, ROWS):
        to_all = v[start : start + ROWS] @ v.T
        to_all[torch.arange(len(to_all)), torch.arange(start, start + len(to_all))] = -torch.inf
        largest = to_all.topk(k)
        near.append(largest.indices)
        cosines = largest.values.double().clamp_min(0 if clip else -1)
        similarities.append(cosines.sign() * cosines.abs() ** gamma)
    entries = torch.cat(similarities).flatten().numpy(), torch.cat(near).flatten().numpy()
    a = sparse.csr_array((*entries, np.arange(0, n * k + 1, k)), shape=(n, n))
    w = a + a.T
    degree = w.sum(1)
    scale = sparse.diags_array(np.where(degree > 0, degree, np.inf) ** -0.5)
    return sparse.csr_array(scale @ w @ scale)


def diffuse(graph: sparse.csr_array, y: np.ndarray, alpha: float = 0.99, iterations: int = 1000) -> np.ndarray:
    """Z of (I - alpha S) Z = Y, (N, C), by conjugate gradients, column by column.

    To a relative residual of 1e-6, or as near as `iterations` come: with alpha = .99 about a hundred are enough.
    """
    system = sparse.csr_array(sparse.eye_array(len(y)) - alpha * graph)
    return np.stack([cg(system, column, rtol=1e-6, maxiter=iterations)[0] for column in y.T], 1)


def propagate(
    features: Tensor,
    known: Tensor,
    classes: int,
    k: int = 50,
    gamma: float = 3.0,
    alpha: float = 0.99,
    clip: bool = True,
    iterations: int = 1000,
) -> tuple[Tensor, Tensor]:
    """A class for each of N images, and how certain it is, from 0 to 1: (N,), (N,).

    features: (N, D); known: (N,), its class, or -1. Certain is 1 - H / ln C of a row of Z (equation 11), divided by the
    largest; images whose class is known keep it, and are certain. As in the authors' code each class starts with the
    same mass. Images that nothing reaches are of class 0 with certainty 0.
    """
    y = nn.functional.one_hot(known + 1, classes + 1)[:, 1:].double()
    graph = neighbour_graph(features, k, gamma, clip)
    z = diffuse(graph, (y / y.sum(0).clamp_min(1)).numpy(), alpha, iterations)
    spread = torch.from_numpy(z).clamp_min(0)
    reached = spread.sum(1, keepdim=True)
    p = torch.where(reached > 0, spread / reached, 1 / classes)
    certain = (1 - torch.special.entr(p).sum(1) / log(classes)).clamp_min(0)
    certain = certain / certain.max().clamp_min(1e-12)
    labelled = known >= 0
    return torch.where(labelled, known, p.argmax(1)), torch.where(labelled, 1.0, certain).float()


class Propagated(nn.Module):
    """What the labels of `known` (N,), -1 for none, have spread to: a class and a weight for each of N images.

    `how`: the other arguments of `propagate`. Before the first `spread` images weigh 0 and classes 1.
    """

    labels: Tensor
    certain: Tensor
    rare: Tensor

    def __init__(self, known: Tensor, classes: int, **how: Any) -> None:
        super().__init__()
        self.known, self.how = known.cpu(), how
        self.register_buffer("labels", known.clamp_min(0))
        self.register_buffer("certain", torch.zeros(len(known)))
        self.register_buffer("rare", torch.ones(classes))

    def forward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The class of each image of the batch, and its weight: how certain that is, times the weight of the class."""
        labels = self.labels[index]
        return labels, self.certain[index] * self.rare[labels]

    @torch.no_grad()
    def spread(self, features: Tensor) -> None:
        """Over the graph of these features (N, D); a class weighs N / C over its count, in the paper 1 over it."""
        n, classes = len(self.known), len(self.rare)
        labels, certain = propagate(features, self.known, classes, **self.how)
        self.labels.copy_(labels)
        self.certain.copy_(certain)
        self.rare.copy_(n / classes / labels.bincount(minlength=classes).clamp_min(1))

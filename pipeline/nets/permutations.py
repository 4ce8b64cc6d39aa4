"""Sets of permutations that are easy to tell apart, and the classifier that says which one a puzzle is in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.heads import Head


def every_permutation(n: int) -> np.ndarray:
    """All permutations of n <= 9 places as columns (n, n!), the even ones first."""
    table, odd = np.zeros((1, 1), np.int8), np.zeros(1, bool)
    for size in range(2, n + 1):
        heads = [np.vstack([np.full_like(table[:1], head), table + (table >= head)]) for head in range(size)]
        odd = np.concatenate([odd ^ bool(head % 2) for head in range(size)])
        table = np.hstack(heads)
    return table[:, odd.argsort(kind="stable")]


def permutations(n: int, count: int, apart: int = 2) -> Tensor:
    """`count` permutations of n <= 9 places, (count, n), any two of which differ in at least `apart` places.

    Greedy: the next is the one whose nearest before it is farthest, of several the one with the largest sum of Hamming
    distances to those before it, of several the first in a random order that is always the same. Algorithm 1 of
    arXiv:1603.09246 has the sum alone, which lets pairs through that are two places apart. Raises ParamsError where
    there are not enough.
    """
    left = every_permutation(n)
    if apart > 2:  # even permutations are three apart, and no larger set is
        left = left[:, : left.shape[1] // 2]
    order = torch.randperm(left.shape[1], generator=torch.Generator().manual_seed(0))
    left = np.ascontiguousarray(left[:, order.numpy()])
    most = np.zeros(left.shape[1], np.int32)  # places shared with the nearest of those before
    total = np.zeros_like(most)  # and with all of them
    chosen: list[np.ndarray] = []
    while len(chosen) < count:
        best = (most * n * count + total).argmin()
        if most[best] > n - apart:
            raise ParamsError(
                f"only {len(chosen):,} permutations of {n} tiles that differ in {apart} places were found, not "
                f"{count:,}: ask for fewer, or for a larger grid"
            )
        chosen.append(left[:, best])
        same = np.zeros(left.shape[1], np.int8)
        for row, place in zip(left, chosen[-1], strict=True):
            same += (row == place).view(np.int8)
        most, total = np.maximum(most, same), total + same
    return torch.from_numpy(np.stack(chosen)).long()


def distances(table: Tensor) -> Tensor:
    """The least and the mean Hamming distance of two permutations of the table (P, n): (2,)."""
    same = torch.zeros(len(table), len(table), dtype=torch.int8)
    for place in table.to(torch.int8).T:
        same += place[:, None] == place
    pairs = (table.shape[1] - same)[torch.triu_indices(len(table), len(table), 1).unbind()].float()
    return torch.stack([pairs.min(), pairs.mean()])


class Solver(nn.Module):
    """Embeddings of the n tiles of a puzzle -> logits of the `count` permutations that it may be in.

    The part of the context-free network that sees all tiles (arXiv:1603.09246, figure 3). `table`: (count, n), row p is
    the order of the tiles in permutation p; `spread`: its least and its mean Hamming distance.
    """

    table: Tensor
    spread: Tensor

    def __init__(self, n: int, dim: int, hidden: int, count: int, apart: int = 2) -> None:
        super().__init__()
        self.register_buffer("table", permutations(n, count, apart))
        self.register_buffer("spread", distances(self.table))
        self.head = Head([n * dim, hidden, count])

    def pick(self, luck: Tensor) -> Tensor:
        """Permutations p, (B,), all of the same chance, by numbers (B,) in [0, 1)."""
        return (luck * len(self.table)).long()

    def forward(self, z: Tensor) -> Tensor:
        """(B * n, dim), the tiles of an image in a row -> (B, count)."""
        return self.head(z.relu().view(-1, self.head.dims[0]))

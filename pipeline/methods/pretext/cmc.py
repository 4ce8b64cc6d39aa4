from collections.abc import Iterator
from itertools import permutations
from math import log, log1p
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import gather, info_nce, log_partition, nce, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import MemoryBank, Turns
from pipeline.views.recipes import CROP


class CMC(Method):
    """Tian et al. 2019, arXiv:1906.05849, sections 3.2 to 3.4.

    Groups of channels of one image attract, those of different images repel; `encoder.sees` names them, the first is
    the core view. `graph` core contrasts it with each other one, full contrasts all pairs. Keys are rows of a memory
    bank for each group, `negatives` of them at a time; with `negatives` 0 they are the other groups of the batch.
    `loss` nce is the paper's; softmax, InfoNCE, is what its authors came to recommend.

    Use it where channels of an image tell its class apart from one another: colour images first of all.
    """

    unlabelled = dict(x=CROP)

    def __init__(
        self,
        encoder: Encoder,
        *,
        images: int,
        graph: Literal["core", "full"] = "full",
        loss: Literal["softmax", "nce"] = "softmax",
        dim: int = 128,
        negatives: int = 16384,
        m: float = 0.5,
        tau: float = 0.07,
    ):
        super().__init__()
        groups = len(encoder.spec["sees"])
        if groups < 2:
            raise ParamsError("cmc contrasts groups of channels: encoder.sees must name two or more, such as [L, ab]")
        self.online = Branch(encoder, nn.Identity())
        self.heads = nn.ModuleList(Head([encoder.dim // groups, dim]) for _ in range(groups))
        self.bank, self.noise = MemoryBank(groups * images if negatives else 0, dim), Turns(images, negatives)
        self.pairs = [(i, j) for i, j in permutations(range(groups), 2) if graph == "full" or 0 in (i, j)]
        self.loss, self.images, self.m, self.tau = loss, images, m, tau

    def contrast(self, q: Tensor, k: Tensor, negatives: Tensor, own: Tensor) -> Tensor:
        if self.loss == "softmax":
            return info_nce(q, k, negatives, self.tau, own)
        return nce(q, k, negatives, self.tau, log_partition(gather(q.detach()), negatives, self.tau, gather(own)), own)

    def step(self, x: Tensor, index: Tensor) -> Iterator[Tensor]:
        z = [unit(head(part)) for head, part in zip(self.heads, self.online(x).chunk(len(self.heads), 1), strict=True)]
        if self.noise.size:
            rows, banks = self.noise.rows(), self.bank.rows.chunk(len(z))
            keys, others = [bank[index] for bank in banks], [bank[rows] for bank in banks]
        else:
            rows, keys, others = gather(index), z, [gather(group) for group in z]
        own, n = index[:, None] == rows, len(rows)
        self.chance = len(self.pairs) * (log(n) if self.loss == "softmax" else log1p(n) + n * log1p(1 / n))
        yield torch.stack([self.contrast(z[i], keys[j], others[j], own) for i, j in self.pairs]).sum()
        self.noise.turn()
        for j, group in enumerate(z if self.noise.size else []):
            self.bank.update(gather(index) + j * self.images, gather(group), self.m)

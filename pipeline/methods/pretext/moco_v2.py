from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from pipeline.losses import gather, info_nce, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, in_groups
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema, Queue
from pipeline.views.recipes import MOCO


class MoCoV2(Method):
    """Chen et al. 2020, arXiv:2003.04297; the algorithm is that of arXiv:1911.05722.

    MoCo with a hidden layer in the head, blurred views and a higher temperature. `hidden` 0 means as wide as the
    features; `symmetric` lets each view be query and key in turn, at twice the cost, and takes the mean. Keep `size`,
    that of the queue, below the number of images; BatchNorm sees `groups` parts of a batch, other ones for keys.

    Use it where memory allows small batches only.
    """

    unlabelled = dict(q=MOCO, k=MOCO)

    def __init__(
        self,
        encoder: Encoder,
        *,
        symmetric: bool = False,
        hidden: int = 0,
        dim: int = 128,
        size: int = 65536,
        m: float = 0.999,
        tau: float = 0.2,
        groups: int = 8,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, hidden or encoder.dim, dim], norm=False))
        self.target, self.queue = Ema(self.online), Queue(size, dim)
        self.symmetric, self.m, self.tau, self.groups = symmetric, m, tau, groups
        self.chance = log(size + 1)

    def step(self, q: Tensor, k: Tensor) -> Iterator[Tensor]:
        pairs = [(q, k), (k, q)] if self.symmetric else [(q, k)]
        queries = [unit(in_groups(self.online, view, self.groups)) for view, _ in pairs]
        keys = [unit(in_groups(self.target, view, self.groups, dealt=True)) for _, view in pairs]
        yield info_nce(torch.cat(queries), torch.cat(keys), self.queue.keys, self.tau)
        self.target.follow(self.online, self.m)
        for batch in keys:
            self.queue.push(gather(batch))

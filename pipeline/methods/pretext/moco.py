from collections.abc import Iterator
from math import log

from torch import Tensor

from pipeline.losses import gather, info_nce, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, in_groups
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema, Queue
from pipeline.views.recipes import INSTDISC


class MoCo(Method):
    """He et al. 2019, arXiv:1911.05722, Algorithm 1.

    A query attracts the key of the same image, made by a slowly moving average of the network, and repels a queue of
    the keys of earlier batches. `size` is that of the queue: keep it below the number of images, or an image repels its
    own key of the epoch before. BatchNorm sees `groups` parts of a batch, others for keys than for queries.

    Use it where memory allows small batches only; moco_v2 is better at the same cost.
    """

    unlabelled = dict(q=INSTDISC, k=INSTDISC)

    def __init__(
        self,
        encoder: Encoder,
        *,
        dim: int = 128,
        size: int = 65536,
        m: float = 0.999,
        tau: float = 0.07,
        groups: int = 8,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, dim]))
        self.target, self.queue = Ema(self.online), Queue(size, dim)
        self.m, self.tau, self.groups, self.chance = m, tau, groups, log(size + 1)

    def step(self, q: Tensor, k: Tensor) -> Iterator[Tensor]:
        queries = unit(in_groups(self.online, q, self.groups))
        keys = unit(in_groups(self.target, k, self.groups, dealt=True))
        yield info_nce(queries, keys, self.queue.keys, self.tau)
        self.target.follow(self.online, self.m)
        self.queue.push(gather(keys))

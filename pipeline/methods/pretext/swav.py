from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from pipeline.losses import gather, own, sinkhorn, swapped, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, together
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Queue
from pipeline.nets.prototypes import Prototypes
from pipeline.views.recipes import MULTI_LARGE, MULTI_SMALL


class SwAV(Method):
    """Caron et al. 2020, arXiv:2006.09882, Algorithm 1 and section 3.

    All other crops predict the code of a large one: its share in each prototype, when all prototypes get equally much.
    Codes are made together with the last `queue` features of each large crop after a share `delay` of the training (1:
    never); the prototypes stand still for a share `frozen`. `queue` is a multiple of the number of processes.

    Use it where small crops are cheap; a batch of thousands needs no queue.
    """

    unlabelled = dict(
        a=MULTI_LARGE, b=MULTI_LARGE, c=MULTI_SMALL, d=MULTI_SMALL, e=MULTI_SMALL, f=MULTI_SMALL, g=MULTI_SMALL,
        h=MULTI_SMALL,
    )  # fmt: skip

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int = 2048,
        dim: int = 128,
        prototypes: int = 3000,
        tau: float = 0.1,
        epsilon: float = 0.05,
        frozen: float = 0.005,
        queue: int = 3840,
        delay: float = 0.075,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, hidden, dim]))
        self.prototypes = Prototypes(dim, prototypes)
        self.queue_a, self.queue_b = Queue(queue, dim), Queue(queue, dim)
        self.tau, self.epsilon, self.frozen, self.delay = tau, epsilon, frozen, delay
        self.chance = log(prototypes)

    @torch.no_grad()
    def codes(self, z: Tensor, queue: Tensor) -> Tensor:
        more = own(queue) if self.t >= self.delay else queue[:0]
        return sinkhorn(self.prototypes(torch.cat([z, more])), self.epsilon)[: len(z)]

    def step(
        self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor, g: Tensor, h: Tensor
    ) -> Iterator[Tensor]:
        z_a, z_b, *small = map(unit, together(self.online, a, b) + together(self.online, c, d, e, f, g, h))
        codes = [self.codes(z_a, self.queue_a.keys), self.codes(z_b, self.queue_b.keys)]
        yield swapped(codes, [self.prototypes(z, self.t < self.frozen) / self.tau for z in (z_a, z_b, *small)])
        self.prototypes.normalise()
        self.queue_a.push(gather(z_a))
        self.queue_b.push(gather(z_b))

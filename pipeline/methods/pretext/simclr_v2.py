from collections.abc import Iterator
from math import log

from torch import Tensor

from pipeline.losses import everyone, gather, nt_xent, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema, Queue
from pipeline.views.recipes import SIMCLR


class SimCLRv2(Method):
    """Chen et al. 2020, arXiv:2006.10029, section 2.

    SimCLR with a head of three layers, of which fine-tuning keeps the first (`finetune.layer: 1`). `memory`: that many
    outputs of a network that follows with momentum `m` are negatives too (64K in the paper, 0: none). `hidden` 0 means
    as wide as the features. The encoders of the paper are `sk_resnet50`, `sk_resnet101`, `sk_resnet152`.

    Use it before fine-tuning with very few labels, with as large an encoder as there is time for.
    """

    unlabelled = dict(a=SIMCLR, b=SIMCLR)

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int = 0,
        dim: int = 128,
        tau: float = 0.1,
        memory: int = 0,
        m: float = 0.999,
    ):
        super().__init__()
        width = hidden or encoder.dim
        self.online = Branch(encoder, Head([encoder.dim, width, width, dim]))
        self.target = Ema(self.online) if memory else None
        self.queue = Queue(memory, dim) if memory else None
        self.tau, self.memory, self.m = tau, memory, m

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        self.chance = log(2 * everyone(len(a)) - 1 + self.memory)
        negatives = self.queue.keys if self.queue else None
        yield nt_xent(self.online(a), self.online(b), self.tau, negatives)
        if self.target and self.queue:
            self.target.follow(self.online, self.m)
            for view in (a, b):
                self.queue.push(unit(gather(self.target(view))))

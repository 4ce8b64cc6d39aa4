from collections.abc import Iterator
from math import log, log1p
from typing import Literal

from torch import Tensor

from pipeline.losses import gather, info_nce, log_partition, nce, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import MemoryBank, Turns
from pipeline.views.recipes import INSTDISC


class InstDisc(Method):
    """Wu et al. 2018, arXiv:1805.01978, sections 3.1 and 3.2.

    Every image is a class of its own, and its row in a memory bank that class's weights. `loss` nce tells the own row
    from `negatives` others, its normalisation constant estimated anew in each step: that of the first batch, as in the
    paper, is soon wrong by orders of magnitude. softmax is over the whole bank. Of a row stays the share `m`.

    Use it where one view of an image a step is all that time allows; bank and softmax grow with the number of images.
    """

    unlabelled = dict(x=INSTDISC)

    def __init__(
        self,
        encoder: Encoder,
        *,
        images: int,
        loss: Literal["nce", "softmax"] = "nce",
        dim: int = 128,
        negatives: int = 4096,
        m: float = 0.5,
        tau: float = 0.07,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, dim]))
        self.bank, self.noise = MemoryBank(images, dim), Turns(images, images if loss == "softmax" else negatives)
        self.loss, self.m, self.tau, size = loss, m, tau, self.noise.size
        self.chance = log(images) if loss == "softmax" else log1p(size) + size * log1p(1 / size)

    def step(self, x: Tensor, index: Tensor) -> Iterator[Tensor]:
        z, rows = unit(self.online(x)), self.noise.rows()
        key, others, own = self.bank.rows[index], self.bank.rows[rows], index[:, None] == rows
        if self.loss == "softmax":
            yield info_nce(z, key, others, self.tau, own)
        else:
            log_z = log_partition(gather(z.detach()), others, self.tau, gather(own))
            yield nce(z, key, others, self.tau, log_z, own)
        self.bank.update(gather(index), gather(z), self.m)
        self.noise.turn()

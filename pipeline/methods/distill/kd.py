from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import cross_entropy, distillation
from pipeline.methods.student import Student
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import WEAK


class KD(Student):
    """Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2.

    The student learns the whole distribution of the teacher, both at a high `temperature`, and the labels of the images
    that have one; `alpha` weighs the first, 1 - alpha the second. `targets` sidecar is what the teacher said of the
    unlabelled image as it is; loop asks it, in each step, of the very view that the student sees, and of the labelled
    images too. `reduction` element divides by the number of classes besides, as the code of DeiT does.

    Use it to make a large teacher small, with `rounds.NAME.distill.encoder` for the student: loop where views are
    strong or labels are many, sidecar where the teacher is slow.
    """

    labelled, unlabelled, columns = dict(x=WEAK), dict(u=WEAK), ("teacher",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        teacher: Branch,
        targets: Literal["sidecar", "loop"] = "sidecar",
        temperature: float = 4.0,
        alpha: float = 0.9,
        reduction: Literal["sample", "element"] = "sample",
        ema: float = 0.0,
    ):
        super().__init__(encoder, classes, ema, teacher, targets)
        self.temperature, self.alpha, self.reduction = temperature, alpha, reduction

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor | None = None) -> Iterator[Tensor]:
        says, on = self.told(x, u, teacher), self.online(torch.cat([x, u]))
        soft = distillation(on[-len(says) :], says, self.temperature, self.reduction)
        hard = cross_entropy(on[: len(x)], y).mean()
        self.note(soft=soft, hard=hard)
        yield self.alpha * soft + (1 - self.alpha) * hard

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.student import Student
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import STRONG


class HardDistillation(Student):
    """Touvron et al. 2021, arXiv:2012.12877, the part on hard-label distillation, with one head.

    What the teacher takes an image for is a label like any other: half of the loss is that of the labels, half that of
    the teacher's classes. `smoothing` is for the labels alone. `targets` loop asks the teacher, in each step, of the
    very view that the student sees, and of the labelled images too: where a crop has lost the object, it says so.
    Sidecar is what it said of the unlabelled image as it is.

    Use it where the teacher is nearly always right: it has neither a temperature nor a weight to choose.
    """

    labelled, unlabelled, columns = dict(x=STRONG), dict(u=STRONG), ("teacher",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        teacher: Branch,
        targets: Literal["sidecar", "loop"] = "loop",
        smoothing: float = 0.1,
        ema: float = 0.0,
    ):
        super().__init__(encoder, classes, ema, teacher, targets)
        self.smoothing = smoothing

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor | None = None) -> Iterator[Tensor]:
        says, on = self.told(x, u, teacher), self.online(torch.cat([x, u]))
        on_labels = cross_entropy(on[: len(x)], y, self.smoothing).mean()
        on_teacher = cross_entropy(on[-len(says) :], says.argmax(1)).mean()
        self.note(agree=(on[-len(says) :].argmax(1) == says.argmax(1)).float().mean())
        yield (on_labels + on_teacher) / 2

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK


class SelfTraining(Classifier):
    """The self-training iterations of BOSS: Smith and Conovaloff 2020, arXiv:2006.09363.

    The images that the round chose join the labelled ones, with the class that the teacher gave them; from these a
    student learns as FixMatch does (arXiv:2001.07685, equations 3 and 4), on all unlabelled images.

    Use it for rounds after one label a class: `select.quota` 50, then 100, 200, 400 of each class.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        tau: float = 0.95,
        weight: float = 1.0,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.tau, self.weight = tau, weight

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, s)
        sure, guess = on_u.detach().float().softmax(1).max(1)
        kept = (sure >= self.tau).float()
        self.note(kept=kept.mean())
        yield cross_entropy(on_x, y).mean() + self.weight * (kept * cross_entropy(on_s, guess)).mean()

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.nets.memory import ramp
from pipeline.views.recipes import WEAK


class PseudoLabel(Classifier):
    """Lee 2013 (ICML workshop); with a threshold, as in Oliver et al. 2018, arXiv:1804.09170.

    An unlabelled image of whose class the network is at least as sure as `tau` counts as one of that class, in the same
    view; the mean is over all of them, sure or not. `weight` is reached after the share `rise` of the training.

    Use it as the simplest way to learn from unlabelled images, where the classes are the same in both sets.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        tau: float = 0.95,
        weight: float = 1.0,
        rise: float = 0.4,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.tau, self.weight, self.rise = tau, weight, rise

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        sure, guess = on_u.detach().float().softmax(1).max(1)
        kept = (sure >= self.tau).float()
        self.note(kept=kept.mean())
        pseudo = (kept * cross_entropy(on_u, guess)).mean()
        yield cross_entropy(on_x, y).mean() + ramp(0, self.weight, self.rise, self.t) * pseudo

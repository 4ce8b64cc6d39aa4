from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import cross_entropy, gather
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK


class FlexMatch(Classifier):
    """Zhang et al. 2021, arXiv:2110.08263, Algorithm 1.

    FixMatch with a threshold for each class: the fewer of the unlabelled images were last guessed to be of a class with
    a confidence that reached `tau`, the lower it is. With `warm_up`, all are low until fewer images than are in the
    largest class were never confident. A threshold is to be reached, as in FixMatch; in the paper, to be exceeded.

    Use it instead of FixMatch where labels are few and some classes are harder than others.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)
    last: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        images: int,
        tau: float = 0.95,
        weight: float = 1.0,
        warm_up: bool = True,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.register_buffer("last", torch.full((images,), -1))
        self.tau, self.weight, self.warm_up = tau, weight, warm_up

    def thresholds(self) -> Tensor:
        never, learned = (self.last + 1).bincount(minlength=self.classes + 1).split([1, self.classes])
        beta = learned / torch.maximum(learned.max(), never if self.warm_up else learned.max() == 0)
        return self.tau * beta / (2 - beta)

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor, index: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, s)
        sure, guess = on_u.detach().float().softmax(1).max(1)
        kept = (sure >= self.thresholds()[guess]).float()
        self.note(kept=kept.mean())
        yield cross_entropy(on_x, y).mean() + self.weight * (kept * cross_entropy(on_s, guess)).mean()
        sure, guess, index = gather(sure), gather(guess), gather(index)
        self.last[index[sure >= self.tau]] = guess[sure >= self.tau]

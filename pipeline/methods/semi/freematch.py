from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import class_shares, cross_entropy, gather, unfairness
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK


class FreeMatch(Classifier):
    """Wang et al. 2022, arXiv:2205.07246, equations 5 to 12.

    FixMatch without a threshold to choose: it is the running mean of the confidence, and lower for each class that is
    predicted less than the most frequent one; it is to be reached, as in Algorithm 1. `m` is the momentum of the
    running means. `fairness` weighs equation 11 with the sign that it has there; the paper takes .01 with one label of
    each class and .05 else.

    Use it where labels are very few, or where no threshold is known to fit.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)
    tau: Tensor
    means: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        m: float = 0.999,
        weight: float = 1.0,
        fairness: float = 0.01,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.register_buffer("tau", torch.tensor(1 / classes))
        self.register_buffer("means", torch.full((2, classes), 1 / classes))
        self.m, self.weight, self.fairness = m, weight, fairness

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, s)
        p = on_u.detach().float().softmax(1)
        (sure, guess), every = p.max(1), gather(p)
        tau = self.tau.lerp(every.amax(1).mean(), 1 - self.m)
        means = self.means.lerp(torch.stack([every.mean(0), class_shares(every)]), 1 - self.m)
        kept = (sure >= tau * (means[0] / means[0].max())[guess]).float()
        self.note(kept=kept.mean(), tau=tau)
        pseudo = (kept * cross_entropy(on_s, guess)).mean()
        fair = unfairness(on_s, kept, *means)
        yield cross_entropy(on_x, y).mean() + self.weight * pseudo + self.fairness * fair
        self.tau.copy_(tau)
        self.means.copy_(means)

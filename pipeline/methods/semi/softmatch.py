from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import cross_entropy, gather
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK


class SoftMatch(Classifier):
    """Chen et al. 2023, arXiv:2301.10921, equations 5 to 9 and Algorithm 1.

    FixMatch with a weight in the place of its threshold: 1 from the running mean of the confidence upwards, and below
    it the slope of a Gaussian whose deviation is the running one over `sigmas`. Where a confidence is weighed, but not
    where it is averaged or makes a label, predictions are divided by their running mean, so that rare classes count as
    well. `m`: momentum of the means.

    Use it where a threshold would leave out too many images, as with few labels or many classes.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)
    p: Tensor
    confidence: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        m: float = 0.999,
        sigmas: float = 2.0,
        weight: float = 1.0,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.register_buffer("p", torch.full((classes,), 1 / classes))
        self.register_buffer("confidence", torch.tensor([1 / classes, 1.0]))
        self.m, self.sigmas, self.weight = m, sigmas, weight

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, s)
        p = on_u.detach().float().softmax(1)
        every = gather(p)
        sure, mean_p = every.amax(1), self.p.lerp(every.mean(0), 1 - self.m)
        now = torch.stack([sure.mean(), sure.var(correction=min(1, len(sure) - 1))])
        mean, variance = confidence = self.confidence.lerp(now, 1 - self.m)
        aligned = p / mean_p.clamp_min(1e-8)
        below = (mean - aligned.amax(1) / aligned.sum(1)).clamp_min(0)
        weights = (-(self.sigmas * below).square() / (2 * variance)).exp()
        self.note(kept=weights.mean(), mean=mean, deviation=variance.sqrt())
        pseudo = (weights * cross_entropy(on_s, p.argmax(1))).mean()
        yield cross_entropy(on_x, y).mean() + self.weight * pseudo
        self.p.copy_(mean_p)
        self.confidence.copy_(confidence)

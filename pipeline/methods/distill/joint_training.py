from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.losses import cross_entropy, gather
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import STRONG


class JointTraining(Classifier):
    """Zoph et al. 2020, arXiv:2006.06882, self-training with its loss normalisation.

    The student learns the labels and, under the same strong views, the classes that the teacher gave to the others.
    The loss of the pseudo-labels is brought to the scale of that of the labels by their running means, of momentum `m`
    (plain means at first, this batch among them), so that `alpha`, its weight, need not be tuned anew for each teacher
    and each pair of data sets. The sum is over 1 + alpha.

    Use it to weigh self-training against pretraining: the student may start from scratch or from a pretrained encoder
    (`from`), with few labels or many, under any views.
    """

    labelled, unlabelled, columns = dict(x=STRONG), dict(u=STRONG), ("teacher",)
    means: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        alpha: float = 1.0,
        m: float = 0.99,
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema)
        self.register_buffer("means", torch.zeros(2))
        self.alpha, self.m = alpha, m

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        human, pseudo = cross_entropy(on_x, y).mean(), cross_entropy(on_u, teacher.argmax(1)).mean()
        now = gather(torch.stack([human, pseudo]).detach()[None]).mean(0)
        means = self.means.lerp(now, 1 - self.target.warm(self.m))
        scale = means[0] / means[1].clamp_min(1e-6)
        self.note(human=human, pseudo=pseudo, scale=scale)
        yield (human + self.alpha * scale * pseudo) / (1 + self.alpha)
        self.means.copy_(means)

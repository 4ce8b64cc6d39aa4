from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, gather, squared_difference
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.nets.memory import Averages, sigmoid_ramp
from pipeline.views.recipes import WEAK


class TemporalEnsembling(Classifier):
    """Laine and Aila 2016, arXiv:1610.02242, Algorithm 2.

    The network is to say of an image what it has said of it so far, on average: of each earlier time `alpha` is left.
    An image that is seen for the first time has no target. The paper's factor M / N is in both of its terms, so that
    `weight` has none here; it is reached after the share `rise` of the training, on the paper's exp(-5 (1 - t)^2).

    Use it where the Pi model is right and a second pass too slow; it sees every image a few dozen times.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        images: int,
        alpha: float = 0.6,
        weight: float = 30.0,
        rise: float = 0.27,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.averages = Averages(images, classes)
        self.alpha, self.weight, self.rise = alpha, weight, rise

    def step(self, x: Tensor, y: Tensor, u: Tensor, index: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        p, seen = on_u.float().softmax(1), (self.averages.counts[index] > 0).float()
        apart = (seen * squared_difference(p, self.averages.means(index, self.alpha))).mean()
        self.note(apart=apart, seen=seen.mean())
        yield cross_entropy(on_x, y).mean() + sigmoid_ramp(self.weight, self.rise, self.t) * apart
        self.averages.update(gather(index), gather(p), self.alpha)

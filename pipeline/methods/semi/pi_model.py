from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, squared_difference
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.nets.memory import sigmoid_ramp
from pipeline.views.recipes import WEAK


class PiModel(Classifier):
    """Laine and Aila 2016, arXiv:1610.02242, Algorithm 1; `weight` and `rise` as in the code of arXiv:2001.07685.

    The network is to say the same of two views of an image, each with its own noise; what it says of the first is the
    target, without gradient. `weight` is reached after the share `rise` of the training, on the paper's
    exp(-5 (1 - t)^2), not on a line.

    Use it as the simplest consistency; Mean Teacher has a better target at the price of a second network.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, v=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        loss: Literal["mse", "cross_entropy"] = "mse",
        weight: float = 10.0,
        rise: float = 0.4,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.loss, self.weight, self.rise = loss, weight, rise

    def step(self, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_v = self.logits(x, u, v)
        p = on_u.detach().float().softmax(1)
        mse = self.loss == "mse"
        apart = (squared_difference(on_v.float().softmax(1), p) if mse else cross_entropy(on_v, p)).mean()
        self.note(apart=apart)
        yield cross_entropy(on_x, y).mean() + sigmoid_ramp(self.weight, self.rise, self.t) * apart

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, squared_difference
from pipeline.methods.classifier import Classifier
from pipeline.nets.branch import ask
from pipeline.nets.encoder import Encoder
from pipeline.nets.memory import sigmoid_ramp
from pipeline.views.recipes import WEAK


class MeanTeacher(Classifier):
    """Tarvainen and Valpola 2017, arXiv:1703.01780, section 2; `weight` and `rise` as in the code of arXiv:2001.07685.

    The network is to say of one view of an image what its teacher, its average over time, says of another. The teacher
    normalises by its batch and has noise of its own; its running statistics are averages of the network's. `weight` is
    reached after the share `rise` of the training, on the paper's exp(-5 (1 - t)^2), not on a line.

    Use it where the images bear weak views only, so that FixMatch has nothing strong to show.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, v=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        loss: Literal["mse", "cross_entropy"] = "mse",
        weight: float = 50.0,
        rise: float = 0.4,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.loss, self.weight, self.rise = loss, weight, rise

    def step(self, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        p = ask(self.target, v).softmax(1)
        mse = self.loss == "mse"
        apart = (squared_difference(on_u.float().softmax(1), p) if mse else cross_entropy(on_u, p)).mean()
        self.note(apart=apart)
        yield cross_entropy(on_x, y).mean() + sigmoid_ramp(self.weight, self.rise, self.t) * apart

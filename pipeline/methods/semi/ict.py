from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, squared_difference
from pipeline.methods.classifier import Classifier
from pipeline.nets.branch import ask
from pipeline.nets.encoder import Encoder
from pipeline.nets.luck import Luck
from pipeline.nets.memory import sigmoid_ramp
from pipeline.nets.mixing import mixed, partners
from pipeline.views.recipes import WEAK


class ICT(Classifier):
    """Verma et al. 2019, arXiv:1903.03825.

    Between two unlabelled images the network is to say what lies between what the average network says of the two: its
    probabilities or, as in the authors' code, its logits (`mix`). `alpha` is that of the Beta distribution of the
    shares; `weight` is reached after the share `rise` of the training, on Mean Teacher's exp(-5 (1 - t)^2). These three
    are the authors' for CIFAR-10.

    Use it where no augmentation is known to keep the class: it needs none, and its steps cost less than those of VAT.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        mix: Literal["probabilities", "logits"] = "probabilities",
        alpha: float = 1.0,
        weight: float = 100.0,
        rise: float = 0.25,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.luck = Luck()
        self.mix, self.alpha, self.weight, self.rise = mix, alpha, weight, rise

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        answers = ask(self.target, u)
        if self.mix == "probabilities":
            answers = answers.softmax(1)
        order, (share,) = self.luck.order(u), self.luck.beta(self.alpha, u)
        (other,), (of_other,) = partners(order, u), partners(order, answers)
        on_x, between = self.logits(x, mixed(u, other, share))
        target = mixed(answers, of_other, share)
        if self.mix == "logits":
            target = target.softmax(1)
        consistency = squared_difference(between.float().softmax(1), target).mean()
        self.note(consistency=consistency)
        yield cross_entropy(on_x, y).mean() + sigmoid_ramp(self.weight, self.rise, self.t) * consistency
        self.luck.turn()

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, squared_difference
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, passes, running_statistics
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.memory import Ema, ramp
from pipeline.nets.mixing import mixed, partners
from pipeline.views.recipes import WEAK


class ICT(Method):
    """Verma et al. 2019, arXiv:1903.03825, Algorithm 1.

    Between two unlabelled images the network is to say what lies between what the average network says of the two.
    `alpha` is that of the Beta distribution of the shares; `weight` is reached after the share `rise` of the training.

    Use it where no augmentation is known to keep the class: it needs none.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        alpha: float = 1.0,
        weight: float = 100.0,
        rise: float = 0.25,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, classes]))
        self.target, self.luck = Ema(self.online), Luck()
        self.alpha, self.weight, self.rise, self.bn_update, self.ema = alpha, weight, rise, bn_update, ema

    @property
    def learned(self) -> Branch:
        return self.target.net

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        with running_statistics(self.target, moves=False):
            p = self.target(u).float().softmax(1)
        order, (share,) = self.luck.order(u), self.luck.beta(self.alpha, u)
        (other,), (of_other,) = partners(order, u), partners(order, p)
        on_x, between = passes(self.online, self.bn_update, x, mixed(u, other, share))
        consistency = squared_difference(between.float().softmax(1), mixed(p, of_other, share)).mean()
        self.note(consistency=consistency)
        yield cross_entropy(on_x, y).mean() + ramp(0, self.weight, self.rise, self.t) * consistency
        self.target.follow(self.online, self.target.warm(self.ema))
        self.luck.turn()

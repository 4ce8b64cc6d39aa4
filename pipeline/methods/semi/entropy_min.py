from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import WEAK


class EntropyMin(Classifier):
    """Grandvalet and Bengio 2004 (NIPS); for networks as in Oliver et al. 2018, arXiv:1804.09170.

    The network is to be sure of the class of each unlabelled image, whichever it is. `weight` is that of the authors'
    code for UDA (arXiv:1904.12848) with 500 to 2,000 labels; it does not rise.

    Use it beside another idea, as VAT does: alone it makes the network surer of its mistakes too.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        weight: float = 0.1,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.weight = weight

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        doubt = entropy(on_u).mean()
        self.note(entropy=doubt)
        yield cross_entropy(on_x, y).mean() + self.weight * doubt

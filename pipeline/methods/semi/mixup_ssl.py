from collections.abc import Iterator
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.branch import ask
from pipeline.nets.encoder import Encoder
from pipeline.nets.luck import Luck
from pipeline.nets.mixing import mixup
from pipeline.views.recipes import WEAK


class MixupSSL(Classifier):
    """Zhang et al. 2017, arXiv:1710.09412, with unlabelled images as the authors of MixMatch (arXiv:1905.02249) do it.

    Labelled images are mixed with labelled ones, and unlabelled ones among themselves, with what the network says of
    them as their labels. `alpha` is that of the Beta distribution of the shares.

    Use it as the baseline of methods that mix: MixMatch without guesses that are averaged and sharpened.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        alpha: float = 0.5,
        weight: float = 1.0,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.luck = Luck()
        self.alpha, self.weight = alpha, weight

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        known, guess = F.one_hot(y, self.classes).float(), ask(self.online, u).softmax(1)
        images, labels = mixup(self.luck, self.alpha, "separate", [x, u], [known, guess])
        on_x, on_u = self.logits(*images)
        yield cross_entropy(on_x, labels[0]).mean() + self.weight * cross_entropy(on_u, labels[1]).mean()
        self.luck.turn()

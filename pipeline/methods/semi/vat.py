from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.nets.memory import ramp
from pipeline.nets.virtual_adversary import VirtualAdversary
from pipeline.views.recipes import WEAK


class VAT(Classifier):
    """Miyato et al. 2017, arXiv:1704.03976: VAT with entropy minimisation (VAT+EntMin).

    The network is to say of an image what it says of it changed by the worst r of length `eps`. `eps` is in units of
    what the network sees, (rgb - mean) / std, over all pixels: 6 is for 32 x 32 in colour, from -1 to 1. `xi` is
    not the paper's 1e-6, which in fp32 is mostly rounding (the median cosine of its r with that of fp64 is .47; of 1e-3
    1.000). The weights, and the ramp of `weight` over the share `rise`, are those in the code of arXiv:2001.07685.

    Use it where no augmentation is known to keep the class: it needs none.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        xi: float = 1e-3,
        eps: float = 6.0,
        iterations: int = 1,
        weight: float = 0.3,
        rise: float = 0.4,
        entropy: float = 0.06,
        bn_update: Literal["labelled", "first", "last", "all"] = "labelled",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.adversary = VirtualAdversary(xi, eps, iterations)
        self.weight, self.rise, self.entropy = weight, rise, entropy

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        moved, doubt = self.adversary.lds(self.online, u, on_u).mean(), entropy(on_u).mean()
        self.note(moved=moved, entropy=doubt)
        weight = ramp(0, self.weight, self.rise, self.t)
        yield cross_entropy(on_x, y).mean() + weight * moved + self.entropy * doubt
        self.adversary.turn()

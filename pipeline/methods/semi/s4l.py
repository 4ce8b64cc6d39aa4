from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.losses import cross_entropy, entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.branch import passes
from pipeline.nets.encoder import Encoder
from pipeline.nets.tiles import turns
from pipeline.nets.virtual_adversary import VirtualAdversary
from pipeline.views.recipes import WEAK


class S4L(Classifier):
    """Zhai et al. 2019, arXiv:1905.03670: S4L-Rotation with VAT and entropy minimisation.

    All images are seen in all four quarter turns. The network says which turn, of labelled and unlabelled images alike;
    the class, of the labelled ones; and is to be smooth (`vat`) and sure (`entropy`) about the class of the others.
    Weights and `eps` are those of the authors' code for MOAM's first step: 32 is for 224 x 224 in colour, from -1 to 1;
    for n numbers an image, 32 sqrt(n / 150528) moves each of them as far. `xi` is as in VAT, not the paper's.

    Use it where photographs have an upright and four times the images a step can be afforded.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        xi: float = 1e-3,
        eps: float = 32.0,
        supervised: float = 0.3,
        rotation: float = 0.4,
        vat: float = 0.3,
        entropy: float = 0.3,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.turned = nn.Linear(encoder.dim, 4)
        self.adversary = VirtualAdversary(xi, eps)
        self.supervised, self.rotation, self.vat, self.entropy = supervised, rotation, vat, entropy

    def step(self, x: Tensor, y: Tensor, u: Tensor) -> Iterator[Tensor]:
        x, u = (turns(z).transpose(0, 1).flatten(0, 1) for z in (x, u))
        features = passes(self.online.encoder, self.bn_update, x, u)
        on_x, on_u = map(self.online.head, features)
        quarters = torch.arange(4, device=x.device)
        way = torch.stack([cross_entropy(self.turned(z), quarters.repeat(len(z) // 4)).mean() for z in features]).mean()
        moved, doubt = self.adversary.lds(self.online, u, on_u).mean(), entropy(on_u).mean()
        self.note(rotation=way, moved=moved, entropy=doubt)
        known = cross_entropy(on_x, y.repeat_interleave(4)).mean()
        yield self.supervised * known + self.rotation * way + self.vat * moved + self.entropy * doubt
        self.adversary.turn()

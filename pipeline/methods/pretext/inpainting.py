from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import ParamsError
from pipeline.losses import weighted_squares
from pipeline.methods.method import Method
from pipeline.nets.adversary import Discriminator
from pipeline.nets.branch import Branch
from pipeline.nets.decoder import Decoder
from pipeline.nets.encoder import Encoder
from pipeline.nets.holes import cut_squares, in_squares
from pipeline.nets.luck import Luck
from pipeline.views.recipes import WEAK


class Inpainting(Method):
    """Pathak et al. 2016, arXiv:1604.07379, equations 1 to 3.

    A square of half the side is predicted from the features of the rest of the image, in the middle or, with `region`
    random, anywhere (one square, where the paper cuts several). The input holds the mean there, but for a rim of
    `overlap` of the square's side, which is shown and counts ten times. `adversarial` weighs equation 2 and what is
    left to 1 the squares of equation 1; 0 builds no discriminator. Equation 2 is the minimax itself, by a reversed
    gradient: one optimiser, of equal rates. The paper has two, and ten times the rate for the generator.

    Use it where the middle of an image is its object; it wants Adam (`optimiser.name: adamw`).
    """

    unlabelled = dict(x=WEAK)
    weight: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        region: Literal["centre", "random"] = "centre",
        overlap: float = 0.0625,
        adversarial: float = 0.001,
        width: int = 64,
    ):
        super().__init__()
        channels, self.side = encoder.spec["channels"], encoder.spec["size"] // 2
        self.rim = round(overlap * self.side)
        self.region, self.hidden, self.adversarial, self.luck = region, self.side - 2 * self.rim, adversarial, Luck()
        if self.hidden < 1:
            raise ParamsError(
                f"inpainting: an overlap of {overlap} leaves nothing of the square to hide; take .25 or less"
            )
        self.online, self.decoder = Branch(encoder, nn.Identity()), Decoder(encoder.dim, channels, self.side, width)
        self.discriminator = Discriminator(channels, self.side, width) if adversarial else None
        self.register_buffer("weight", F.pad(torch.ones(self.hidden, self.hidden), (self.rim,) * 4, value=10.0))

    def step(self, x: Tensor) -> Iterator[Tensor]:
        luck = self.luck(x, 2) if self.region == "random" else x.new_full((len(x), 2), 0.5)
        corner = (luck * (x.shape[-1] - self.side + 1)).long()
        hole, hidden = cut_squares(x, corner, self.side), in_squares(x, corner + self.rim, self.hidden)
        made = self.decoder(self.online(x.masked_fill(hidden, 0)))
        loss = (1 - self.adversarial) * weighted_squares(made, hole, self.weight)
        if self.discriminator is not None:
            loss = loss + self.discriminator.against(hole, made, self.adversarial)
        yield loss
        self.luck.turn()

from collections.abc import Iterator
from math import log
from typing import Literal

from torch import Tensor, nn

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.pairs import PLACES, ColourGuard, layout, pairs
from pipeline.nets.patches import check_sees
from pipeline.views.recipes import PAIRS


class RelativePosition(Method):
    """Doersch et al. 2015, arXiv:1505.05192, section 3.

    Of two patches of an image, embedded one by one, the network says in which of the eight places around the first the
    second is. Patches are as large as the image allows, with a gap of half a patch between them and off their places by
    up to 7 / 96. `colour` drop leaves each patch one of its channels, project takes green against magenta out of all
    colours: else the fringes of a lens tell the place. Grey images need neither, and nothing is done to them.

    Use it where images hold objects of many parts and are large: of 224 pixels a patch has 52, of 32 pixels 7.
    """

    unlabelled = dict(x=PAIRS)

    def __init__(self, encoder: Encoder, *, hidden: int = 4096, colour: Literal["drop", "project", "none"] = "drop"):
        super().__init__()
        check_sees(encoder, layout(encoder.spec["size"]).patch)
        self.online = Branch(encoder, nn.Identity())
        self.classifier = Head([2 * encoder.dim, hidden, len(PLACES)])
        self.guard, self.luck = ColourGuard(colour, encoder.spec["mean"], encoder.spec["std"]), Luck()
        self.chance = log(len(PLACES))

    def step(self, x: Tensor) -> Iterator[Tensor]:
        luck = self.luck(x, 5)
        place = (len(PLACES) * luck[:, 0]).long()
        patches = self.guard(pairs(x, place, luck[:, 1:]))
        both = self.online(patches.flatten(0, 1)).view(len(x), -1)
        yield cross_entropy(self.classifier(both), place).mean()
        self.luck.turn()
        self.guard.turn()

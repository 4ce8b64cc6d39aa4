from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.tiles import turns
from pipeline.views.recipes import WEAK


class Rotation(Method):
    """Gidaris et al. 2018, arXiv:1803.07728, equations 2 and 3.

    Each image is seen in all four quarter turns, and the network says which is which: a batch of B is 4 B images to it.

    Use it as the cheapest pretext task, where photographs have an upright; not for what looks alike when turned, such
    as textures, cells and images from above.
    """

    unlabelled = dict(x=WEAK)

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, 4]))
        self.chance = log(4)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        quarters = torch.arange(4, device=x.device).repeat_interleave(len(x))
        yield cross_entropy(self.online(turns(x).flatten(0, 1)), quarters).mean()

from collections.abc import Iterator
from math import log

from torch import Tensor

from pipeline.losses import everyone, nt_xent
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.views.recipes import SIMCLR


class SimCLR(Method):
    """Chen et al. 2020, arXiv:2002.05709, Algorithm 1.

    Two views of an image attract, all other views in the batch repel. `hidden` 0 means as wide as the features. The
    paper's colour distortion of strength s is `jitter(.8 s)`: .5 here, 1 with `blur(.5)` for images of 224 pixels.

    Use it as the first try and the yardstick; it wants batches of 256 and more.
    """

    unlabelled = dict(a=SIMCLR, b=SIMCLR)

    def __init__(self, encoder: Encoder, *, hidden: int = 0, dim: int = 128, tau: float = 0.5):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, hidden or encoder.dim, dim]))
        self.tau = tau

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        self.chance = log(2 * everyone(len(a)) - 1)
        yield nt_xent(self.online(a), self.online(b), self.tau)

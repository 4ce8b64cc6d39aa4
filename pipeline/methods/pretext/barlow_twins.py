from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import cross_correlation, off_diagonal
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.views.recipes import BYOL_1, BYOL_2


class BarlowTwins(Method):
    """Zbontar et al. 2021, arXiv:2103.03230, Algorithm 1.

    Each dimension shall agree between two views, and no two dimensions shall say the same: the cross-correlation over
    the batch becomes the identity. `redundancy` weighs what stands off its diagonal; all three layers have width `dim`.

    Use it where neither negatives nor a second network are wanted; it gains from a wide `dim`.
    """

    unlabelled = dict(a=BYOL_1, b=BYOL_2)

    def __init__(self, encoder: Encoder, *, dim: int = 8192, redundancy: float = 0.005):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, dim, dim, dim], last_bias=False))
        self.redundancy = redundancy

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        c = cross_correlation(self.online(a), self.online(b))
        yield (1 - c.diagonal()).square().sum() + self.redundancy * off_diagonal(c)

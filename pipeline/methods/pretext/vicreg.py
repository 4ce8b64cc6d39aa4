from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import mse_loss

from pipeline.losses import covariance, variance
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.views.recipes import BYOL_1, BYOL_2


class VICReg(Method):
    """Bardes et al. 2021, arXiv:2105.04906, Algorithm 1.

    Two views become near each other, each dimension keeps a deviation of 1, no two dimensions vary together. The three
    weights are in this order (the authors' code halves that of the variance); all three layers have width `dim`.

    Use it where the terms that prevent a collapse are to be seen and weighed one by one.
    """

    unlabelled = dict(a=BYOL_1, b=BYOL_2)

    def __init__(
        self,
        encoder: Encoder,
        *,
        dim: int = 8192,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, dim, dim, dim], last_bias=False))
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        a, b = self.online(a).float(), self.online(b).float()
        alike = self.invariance * mse_loss(a, b)
        yield alike + self.variance * (variance(a) + variance(b)) + self.covariance * (covariance(a) + covariance(b))

from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import negative_cosine
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema, rising
from pipeline.views.recipes import BYOL_1, BYOL_2


class BYOL(Method):
    """Grill et al. 2020, arXiv:2006.07733, equations 1 to 3.

    From one view, predict what a slow average of the network makes of the other: no image repels another. The momentum
    rises from `m` to 1; `m` is for a thousand epochs, a shorter run wants a smaller one (.97 for forty).

    Use it where batches are small, or where other images of the batch are often of the same class.
    """

    unlabelled = dict(a=BYOL_1, b=BYOL_2)

    def __init__(self, encoder: Encoder, *, hidden: int = 4096, dim: int = 256, m: float = 0.996):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, hidden, dim], last_bias=False))
        self.predictor = Head([dim, hidden, dim], last_bias=False)
        self.target, self.m = Ema(self.online), m

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        p_a, p_b = self.predictor(self.online(a)), self.predictor(self.online(b))
        z_a, z_b = self.target(a), self.target(b)
        yield (2 + 2 * negative_cosine(p_a, z_b)) + (2 + 2 * negative_cosine(p_b, z_a))
        self.target.follow(self.online, rising(self.m, self.t))

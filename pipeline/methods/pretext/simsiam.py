from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import negative_cosine
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.views.recipes import MOCO


class SimSiam(Method):
    """Chen and He 2020, arXiv:2011.10566, Algorithm 1.

    From one view, predict what the same network makes of the other, which is held still (stop-gradient). The projector
    has three layers of width `dim`, the predictor is a bottleneck of width `hidden`.

    Use it as the smallest method without negatives: no second network, no queue, no large batch.
    """

    unlabelled = dict(a=MOCO, b=MOCO)

    def __init__(self, encoder: Encoder, *, dim: int = 2048, hidden: int = 512):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, dim, dim, dim], last_norm=True))
        self.predictor = Head([dim, hidden, dim])

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        z_a, z_b = self.online(a), self.online(b)
        p_a, p_b = self.predictor(z_a), self.predictor(z_b)
        yield negative_cosine(p_a, z_b.detach()) / 2 + negative_cosine(p_b, z_a.detach()) / 2

from collections.abc import Iterator
from math import log

from torch import Tensor

from pipeline.losses import gather, in_batch_nce, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema, rising
from pipeline.views.recipes import MOCO_V3_1, MOCO_V3_2


class MoCoV3(Method):
    """Chen et al. 2021, arXiv:2104.02057, Algorithm 1.

    MoCo without a queue: a query repels the keys of all other images of the batch, and a predictor stands on the
    online network. The defaults are those of ResNet-50. For a transformer (sections 4.2 and 5): `transformer` true,
    which freezes the patch embedding, adds a layer to the head and a BatchNorm behind the predictor; `tau` .2, AdamW
    1.5e-4 per 256 images, decay .1, and views that crop from .08 on.

    Use it for transformers, and where batches of 1,024 and more are affordable.
    """

    unlabelled = dict(a=MOCO_V3_1, b=MOCO_V3_2)

    def __init__(
        self,
        encoder: Encoder,
        *,
        transformer: bool = False,
        hidden: int = 4096,
        dim: int = 256,
        m: float = 0.99,
        tau: float = 1.0,
    ):
        super().__init__()
        widths = [hidden] * (2 if transformer else 1)
        self.online = Branch(encoder, Head([encoder.dim, *widths, dim], last_norm=True))
        self.predictor = Head([dim, hidden, dim], last_norm=transformer)
        for name, parameter in encoder.named_parameters():
            if transformer and "patch_embed" in name:
                parameter.requires_grad_(False)
        self.target, self.m, self.tau = Ema(self.online), m, tau

    def step(self, a: Tensor, b: Tensor) -> Iterator[Tensor]:
        q_a, q_b = (unit(self.predictor(self.online(view))) for view in (a, b))
        k_a, k_b = (gather(unit(self.target(view))) for view in (a, b))
        self.chance = 4 * self.tau * log(len(k_a))
        yield 2 * self.tau * (in_batch_nce(q_a, k_b, self.tau) + in_batch_nce(q_b, k_a, self.tau))
        self.target.follow(self.online, rising(self.m, self.t))

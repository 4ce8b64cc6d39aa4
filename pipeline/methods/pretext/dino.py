from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from pipeline.losses import gather, swapped
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, together
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema, ramp, rising
from pipeline.nets.prototypes import Prototypes
from pipeline.views.recipes import MULTI_1, MULTI_2, MULTI_LOCAL


class DINO(Method):
    """Caron et al. 2021, arXiv:2104.14294, Algorithm 1 and section 3.

    All other crops predict what a slow average of the network, centred and sharpened, makes of a global one. The
    teacher's temperature rises from `tau_first` to `tau_t` in a share `warmup` of the training, the momentum from `m`
    to 1; the last layer stands still for a share `frozen`. `norm`: BatchNorm in the head. The teacher is what is kept.

    Use it with transformers (which need `dynamic_img_size: true` in the encoder's args for the small crops); a
    convolutional network in a short run stays at the uniform output without `norm`.
    """

    unlabelled = dict(
        a=MULTI_1, b=MULTI_2, c=MULTI_LOCAL, d=MULTI_LOCAL, e=MULTI_LOCAL, f=MULTI_LOCAL, g=MULTI_LOCAL, h=MULTI_LOCAL
    )
    centre: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int = 2048,
        dim: int = 256,
        out: int = 65536,
        norm: bool = False,
        m: float = 0.996,
        tau_s: float = 0.1,
        tau_first: float = 0.04,
        tau_t: float = 0.07,
        warmup: float = 0.1,
        frozen: float = 0.01,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, hidden, hidden, dim], norm, activation="gelu"))
        self.last = Prototypes(dim, out)
        self.target, self.target_last = Ema(self.online), Ema(self.last)
        self.register_buffer("centre", torch.zeros(out))
        self.m, self.tau_s, self.frozen, self.chance = m, tau_s, frozen, log(out)
        self.tau_t = tau_first, tau_t, warmup

    @property
    def learned(self) -> Branch:
        return self.target.net

    def step(
        self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor, g: Tensor, h: Tensor
    ) -> Iterator[Tensor]:
        z = together(self.online, a, b) + together(self.online, c, d, e, f, g, h)
        teacher = [self.target_last(z) for z in together(self.target, a, b)]
        p_t = [((scores - self.centre) / ramp(*self.tau_t, self.t)).softmax(1) for scores in teacher]
        yield swapped(p_t, [self.last(crop, self.t < self.frozen) / self.tau_s for crop in z])
        self.centre.lerp_(torch.cat([gather(scores) for scores in teacher]).mean(0), 0.1)
        self.target.follow(self.online, rising(self.m, self.t))
        self.target_last.follow(self.last, rising(self.m, self.t))

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, sharpen
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, passes
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema
from pipeline.views.recipes import FIXMATCH, WEAK


class FixMatch(Method):
    """Sohn et al. 2020, arXiv:2001.07685, equations 3 and 4.

    What the network says of a weak view, where its confidence reaches `tau`, is the label of a strong view of the same
    image; the mean is over all images, sure or not. `labels` hard takes the best class, soft the whole distribution at
    `temperature`.

    Use it as the first choice where labels are few and strong views keep the class; 7 unlabelled images to a labelled
    one, as in the paper, are `ratio: 7`.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        tau: float = 0.95,
        weight: float = 1.0,
        labels: Literal["hard", "soft"] = "hard",
        temperature: float = 1.0,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, classes]))
        self.target = Ema(self.online)
        self.tau, self.weight, self.labels, self.temperature = tau, weight, labels, temperature
        self.bn_update, self.ema = bn_update, ema

    @property
    def learned(self) -> Branch:
        return self.target.net

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = passes(self.online, self.bn_update, x, u, s)
        p = on_u.detach().float().softmax(1)
        kept = (p.amax(1) >= self.tau).float()
        pseudo = p.argmax(1) if self.labels == "hard" else sharpen(p, self.temperature)
        self.note(kept=kept.mean())
        yield cross_entropy(on_x, y).mean() + self.weight * (kept * cross_entropy(on_s, pseudo)).mean()
        self.target.follow(self.online, self.target.warm(self.ema))

from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema
from pipeline.views.recipes import WEAK


class Supervised(Method):
    """Label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7; weight averaging as in arXiv:1703.01780.

    The labelled images alone: what every method that also sees unlabelled ones is measured against.

    Use it to fine-tune what was pretrained, and as the baseline.
    """

    labelled = dict(x=WEAK)

    def __init__(self, encoder: Encoder, *, classes: int, smoothing: float = 0.0, ema: float = 0.999):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, classes]))
        self.target = Ema(self.online)
        self.smoothing, self.ema = smoothing, ema

    @property
    def learned(self) -> Branch:
        return self.target.net

    def step(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        yield cross_entropy(self.online(x), y, self.smoothing).mean()
        self.target.follow(self.online, self.target.warm(self.ema))

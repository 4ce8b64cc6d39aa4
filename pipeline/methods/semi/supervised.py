from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import WEAK


class Supervised(Classifier):
    """Label smoothing: Szegedy et al. 2016, arXiv:1512.00567; weight averaging as in arXiv:1703.01780.

    The labelled images alone: what every method that also sees unlabelled ones is measured against.

    Use it to fine-tune what was pretrained, and as the baseline.
    """

    labelled = dict(x=WEAK)

    def __init__(self, encoder: Encoder, *, classes: int, smoothing: float = 0.0, ema: float = 0.999):
        super().__init__(encoder, classes, ema)
        self.smoothing = smoothing

    def step(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        yield cross_entropy(self.online(x), y, self.smoothing).mean()

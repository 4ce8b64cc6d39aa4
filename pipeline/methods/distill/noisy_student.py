from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import STRONG


class NoisyStudent(Classifier):
    """Xie et al. 2020, arXiv:1911.04252, Algorithm 1.

    The student learns, under noise, the labels and the pseudo-labels of a teacher that saw the images without noise.
    The noise of the input is the recipe of the views; that of the network is the encoder's `drop` and `drop_path`.
    As in the authors' code the sum over all images is divided by the number of labelled ones, so that `ratio` weighs
    the pseudo-labels; at 1 it is the algorithm's sum of two means. `smoothing` is for hard labels.

    Use it where many images without a label resemble those with one.
    """

    labelled, unlabelled, columns = dict(x=STRONG), dict(u=STRONG), ("teacher",)
    grows = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        labels: Literal["soft", "hard"] = "soft",
        temperature: float = 1.0,
        smoothing: float = 0.1,
        ema: float = 0.9999,
    ):
        super().__init__(encoder, classes, ema)
        self.labels, self.temperature, self.smoothing = labels, temperature, smoothing

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        if self.labels == "hard":
            pseudo = cross_entropy(on_u, teacher.argmax(-1), self.smoothing)
        else:
            pseudo = cross_entropy(on_u, (teacher / self.temperature).softmax(-1))  # soft labels are smooth already
        yield (cross_entropy(on_x, y, self.smoothing).sum() + pseudo.sum()) / len(x)

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, together
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema
from pipeline.views.recipes import STRONG


class NoisyStudent(Method):
    """Xie et al. 2020, arXiv:1911.04252, Algorithm 1.

    The student learns, under noise, the labels and the pseudo-labels of a teacher that saw the images without noise.
    The noise of the input is the recipe of the views; that of the network is the encoder's `drop` and `drop_path`.

    Use it where many images without a label resemble those with one.
    """

    labelled, unlabelled, columns = dict(x=STRONG), dict(u=STRONG), ("teacher",)

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
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, classes]))
        self.target = Ema(self.online)
        self.labels, self.temperature, self.smoothing, self.ema = labels, temperature, smoothing, ema

    @property
    def learned(self) -> Branch:
        return self.target.net

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor) -> Iterator[Tensor]:
        on_x, on_u = together(self.online, x, u)
        if self.labels == "hard":
            pseudo = cross_entropy(on_u, teacher.argmax(-1), self.smoothing)
        else:
            pseudo = cross_entropy(on_u, (teacher / self.temperature).softmax(-1))  # soft labels are smooth already
        yield (cross_entropy(on_x, y, self.smoothing).sum() + pseudo.sum()) / len(x)
        self.target.follow(self.online, self.target.warm(self.ema))

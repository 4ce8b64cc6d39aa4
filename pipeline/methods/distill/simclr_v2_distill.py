from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import INCEPTION


class SimCLRv2Distill(Classifier):
    """Chen et al. 2020, arXiv:2006.10029, section 2, the third step: distillation via unlabelled examples.

    The student learns what the teacher says of each image, both at `temperature`; the teacher saw the image as it is.
    `alpha` weighs this against the labels: at 1 no label is used, and no labelled image passes through the network. A
    student of its teacher's shape is self-distillation, a smaller one (the round's `distill.encoder`) big-to-small.
    There is no T^2, which the authors' code has: at a temperature of 1 it makes no difference.

    Use it after a large network was pretrained and fine-tuned on few labels, to make it better or smaller;
    `select.threshold: 0` lets it speak of every image.
    """

    labelled, unlabelled, columns = dict(x=INCEPTION), dict(u=INCEPTION), ("teacher",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        alpha: float = 1.0,
        temperature: float = 1.0,
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema)
        self.alpha, self.temperature = alpha, temperature

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor) -> Iterator[Tensor]:
        *on_x, on_u = self.logits(x, u) if self.alpha < 1 else self.logits(u)
        soft = cross_entropy(on_u.float() / self.temperature, (teacher / self.temperature).softmax(-1)).mean()
        hard = [cross_entropy(logits, y).mean() for logits in on_x]
        yield self.alpha * soft + (1 - self.alpha) * sum(hard)

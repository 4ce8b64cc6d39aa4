from collections.abc import Iterator

from torch import Tensor

from pipeline.losses import cross_entropy, distillation
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import WEAK


class SelfDistillation(Classifier):
    """Furlanello et al. 2018, arXiv:1805.04770; with the loss of Tf-KD self: Yuan et al. 2020, arXiv:1909.11723.

    A student of its teacher's shape, from scratch, learns the labels and what the teacher says, both at `temperature`;
    each round is a generation. `alpha` weighs the teacher. As in the authors' code the KL is times T^2, and a mean over
    images and classes, which `multiplier` is to undo; the defaults are theirs for a ResNet-18 and 100 classes. The
    labels are of one batch, what the teacher says is of another, where the papers have both of one: on average the same
    where every image is labelled, and selected (`select.threshold: 0`).

    Use it after the best network at hand, to make it better as it is; with a teacher that is smaller, or hardly
    trained, it is that paper's reversed and defective distillation (there `multiplier` is 1).
    """

    labelled, unlabelled, columns = dict(x=WEAK), dict(u=WEAK), ("teacher",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        alpha: float = 0.95,
        temperature: float = 6.0,
        multiplier: float = 50.0,
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema)
        self.alpha, self.temperature, self.multiplier = alpha, temperature, multiplier

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        soft = self.multiplier * distillation(on_u, teacher, self.temperature, "element")
        yield (1 - self.alpha) * cross_entropy(on_x, y).mean() + self.alpha * soft

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.losses import cross_entropy, divergence
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import WEAK


class TfKD(Classifier):
    """Yuan et al. 2020, arXiv:1909.11723, the regularisation Tf-KD reg, reduced as in the authors' code.

    A virtual teacher gives the right class the probability `correct` and shares the rest among the others. These go
    through a softmax at `temperature` as if they were logits, so that at 20 it is nearly uniform; the student has no
    temperature, and there is no T^2. `alpha` weighs the teacher against the labels. Its KL is a mean over images and
    classes: `multiplier` undoes the second where it is the number of classes, as here for the paper's CIFAR-100. No
    other teacher is asked, and no unlabelled image is seen.

    Use it instead of label smoothing, where there is no teacher that is better than the student.
    """

    labelled = dict(x=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        alpha: float = 0.1,
        temperature: float = 20.0,
        correct: float = 0.99,
        multiplier: float = 100.0,
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema)
        self.alpha, self.temperature, self.correct, self.multiplier = alpha, temperature, correct, multiplier

    def step(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        on_x, wrong = self.online(x), (1 - self.correct) / (self.classes - 1)
        virtual = torch.where(F.one_hot(y, self.classes) > 0, self.correct, wrong)
        soft = divergence((virtual / self.temperature).softmax(1), on_x).mean() / self.classes
        yield (1 - self.alpha) * cross_entropy(on_x, y).mean() + self.alpha * self.multiplier * soft

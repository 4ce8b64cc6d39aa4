from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, sharpen
from pipeline.methods.classifier import Classifier
from pipeline.methods.strengths import Given, Learned
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK


class FixMatch(Classifier):
    """Sohn et al. 2020, arXiv:2001.07685, equations 3 and 4.

    What the network says of a weak view, where its confidence reaches `tau`, is the label of a strong view of the same
    image; the mean is over all images, sure or not. `labels` hard takes the best class, soft the whole distribution at
    `temperature`. `strong` recipe takes the view as its recipe makes it; ctaugment makes it of a second weak view, with
    strengths that follow what the average network still tells of the labelled images.

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
        strong: Literal["recipe", "ctaugment"] = "recipe",
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.tau, self.weight, self.labels, self.temperature = tau, weight, labels, temperature
        self.strengths = Learned(encoder, cutout=True) if strong == "ctaugment" else Given()
        if strong == "ctaugment":
            self.unlabelled = dict(u=WEAK, s=WEAK)

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, *self.strengths(s))
        p = on_u.detach().float().softmax(1)
        kept = (p.amax(1) >= self.tau).float()
        pseudo = p.argmax(1) if self.labels == "hard" else sharpen(p, self.temperature)
        self.note(kept=kept.mean())
        yield cross_entropy(on_x, y).mean() + self.weight * (kept * cross_entropy(on_s, pseudo)).mean()
        self.strengths.learn(self.target.net, x, y)

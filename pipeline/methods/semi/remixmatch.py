from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.losses import cross_entropy, sharpen
from pipeline.methods.classifier import Classifier
from pipeline.methods.strengths import Given, Learned
from pipeline.nets.branch import ask, dealt, running_statistics
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.memory import Alignment, ramp
from pipeline.nets.mixing import mixup
from pipeline.nets.tiles import turned
from pipeline.views.recipes import FIXMATCH, WEAK


def cost(logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y).mean()


class ReMixMatch(Classifier):
    """Berthelot et al. 2019, arXiv:1911.09785, Algorithm 1.

    What the network says of a weak view, aligned with how often the labelled images are of each class and then
    sharpened, is the label of that view and of `anchored` strong ones (the paper: 8); all of them are mixed with one
    another and with the labelled images. The first strong view also learns it unmixed (`first`), and, turned, by how
    much it was turned (`rotation`). `weight` and `first` are reached after the share `rise` of the training.
    `strong` ctaugment is the paper's: labelled and anchored views are made of weak ones, with strengths that follow
    what the average network still tells of the labelled images; recipe has RandAugment in its place.

    Use it where labels are few and the unlabelled images have the classes in the same shares as the labelled ones.
    """

    labelled, unlabelled = dict(x=FIXMATCH), dict(u=WEAK, s=FIXMATCH, r=FIXMATCH)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        anchored: Literal[1, 2] = 2,
        temperature: float = 0.5,
        alpha: float = 0.75,
        weight: float = 1.5,
        first: float = 0.5,
        rotation: float = 0.5,
        rise: float = 0.0156,
        strong: Literal["recipe", "ctaugment"] = "recipe",
        bn_update: Literal["labelled", "first", "last", "all"] = "last",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.quarters, self.luck, self.alignment = Head([encoder.dim, 4]), Luck(), Alignment(classes)
        self.strengths = Learned(encoder, cutout=False) if strong == "ctaugment" else Given()
        if strong == "ctaugment":
            self.labelled, self.unlabelled = dict(x=WEAK), dict(u=WEAK, s=WEAK, r=WEAK)
        self.unlabelled = dict(list(self.unlabelled.items())[: 1 + anchored])
        self.temperature, self.alpha, self.weight, self.first = temperature, alpha, weight, first
        self.rotation, self.rise = rotation, rise

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor, r: Tensor | None = None) -> Iterator[Tensor]:
        seen, s, *more = self.strengths(*[view for view in (x, s, r) if view is not None][: len(self.unlabelled)])
        known, quarters = F.one_hot(y, self.classes).float(), (4 * self.luck(s)).long()
        p = ask(self.online, u).softmax(1)
        with running_statistics(self.online, moves=False):
            on_s, on_turned = self.online(s), self.quarters(self.online.encoder(turned(s, quarters)))
        guess = sharpen(self.alignment(p), self.temperature)
        images, labels = mixup(self.luck, self.alpha, "all", [seen, u, s, *more], [known, *[guess] * (2 + len(more))])
        on_x, *on_u = dealt(self.online, self.bn_update, *images)
        guided = self.weight * cost(torch.cat(on_u), torch.cat(labels[1:])) + self.first * cost(on_s, guess)
        yield cost(on_x, labels[0]) + self.rotation * cost(on_turned, quarters) + ramp(0, 1, self.rise, self.t) * guided
        self.alignment.update(known, p)
        self.luck.turn()
        self.strengths.learn(self.target.net, x, y)

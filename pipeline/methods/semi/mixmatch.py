from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.losses import cross_entropy, sharpen, squared_difference
from pipeline.methods.classifier import Classifier
from pipeline.nets.branch import ask, dealt
from pipeline.nets.encoder import Encoder
from pipeline.nets.luck import Luck
from pipeline.nets.memory import ramp
from pipeline.nets.mixing import mixup
from pipeline.views.recipes import WEAK

More = Tensor | None


class MixMatch(Classifier):
    """Berthelot et al. 2019, arXiv:1905.02249, Algorithm 1 and equations 2 to 5.

    What the network says of `augmentations` views of an unlabelled image, averaged and sharpened, is the label of all
    of them; then all images and labels are mixed with one another, labelled or not. The ablations of the paper: `mix`
    says who is mixed with whom, `guess` ema asks the average network, `temperature` 1 leaves out the sharpening.
    `alpha` is that of the Beta distribution of the shares; `weight` is reached after the share `rise` of the training.

    Use it where strong views would change the class, as with textures and spectra: it needs weak ones alone.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, v=WEAK, w=WEAK, z=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        augmentations: Literal[1, 2, 3, 4] = 2,
        temperature: float = 0.5,
        guess: Literal["online", "ema"] = "online",
        mix: Literal["all", "none", "labelled", "unlabelled", "separate"] = "all",
        alpha: float = 0.75,
        weight: float = 75.0,
        rise: float = 0.0156,
        bn_update: Literal["labelled", "first", "last", "all"] = "first",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.luck = Luck()
        self.unlabelled = dict(list(self.unlabelled.items())[:augmentations])
        self.temperature, self.guess, self.mix = temperature, guess, mix
        self.alpha, self.weight, self.rise = alpha, weight, rise

    def guessed(self, views: list[Tensor]) -> Tensor:
        net = self.target.net if self.guess == "ema" else self.online
        p = torch.stack([ask(net, view).softmax(1) for view in views])
        return sharpen(p.mean(0), self.temperature)

    def step(self, x: Tensor, y: Tensor, u: Tensor, v: More = None, w: More = None, z: More = None) -> Iterator[Tensor]:
        views = [view for view in (u, v, w, z) if view is not None][: len(self.unlabelled)]
        known, guess = F.one_hot(y, self.classes).float(), self.guessed(views)
        images, labels = mixup(self.luck, self.alpha, self.mix, [x, *views], [known, *[guess] * len(views)])
        on_x, *on_u = dealt(self.online, self.bn_update, *images)
        squares = squared_difference(torch.cat(on_u).float().softmax(1), torch.cat(labels[1:])).mean()
        self.note(confidence=guess.amax(1).mean(), squares=squares)
        yield cross_entropy(on_x, labels[0]).mean() + ramp(0, self.weight, self.rise, self.t) * squares
        self.luck.turn()

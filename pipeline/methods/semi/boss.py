from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, gather
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK


class BOSS(Classifier):
    """Smith and Conovaloff 2020, arXiv:2006.09363: class balancing.

    FixMatch that keeps the classes balanced, by how often each is guessed in the batch. `balance` 1: the threshold of a
    rare class is lower, by up to `delta`; 2: each image that is kept weighs 1 / the count of its class; 3: the same,
    where only kept images are counted; 4: both 1 and 3; 0: FixMatch. The weights add up to the number of images kept.

    Use it with one labelled image or a few of each class, where FixMatch comes to prefer some of the classes.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        balance: Literal[0, 1, 2, 3, 4] = 4,
        tau: float = 0.95,
        delta: float = 0.25,
        weight: float = 1.0,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.balance, self.tau, self.delta, self.weight = balance, tau, delta, weight

    def weights(self, sure: Tensor, guess: Tensor) -> Tensor:
        counts = gather(guess).bincount(minlength=self.classes)
        lower = self.delta * (1 - counts / counts.max()) if self.balance in (1, 4) else 0 * counts
        kept = (sure >= self.tau - lower[guess]).float()
        if self.balance < 2:
            return kept
        if self.balance > 2:
            counts = gather(guess)[gather(kept) > 0].bincount(minlength=self.classes)
        rare = kept / counts[guess].clamp_min(1)
        return rare * gather(kept).sum() / gather(rare).sum().clamp_min(1e-9)

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, s)
        sure, guess = on_u.detach().float().softmax(1).max(1)
        weights = self.weights(sure, guess)
        self.note(kept=(weights > 0).float().mean(), heaviest=weights.max())
        yield cross_entropy(on_x, y).mean() + self.weight * (weights * cross_entropy(on_s, guess)).mean()

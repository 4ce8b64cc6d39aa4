from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.losses import cross_entropy
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.nets.propagation import Propagated
from pipeline.views.recipes import WEAK


class LabelPropagation(Classifier):
    """Iscen et al. 2019, arXiv:1904.04717.

    After `alone`, the share of the steps that see labels only, each epoch begins with a graph of the `k` nearest
    neighbours in features; the labels spread over it to all images (`gamma`: similarities to that power, `alpha`: how
    far), and count as much as they are certain, rare classes more than frequent ones. The loss is the mean over all
    images of the step, sure or not. `clip`: similarities below 0 are 0; `iterations`: of conjugate gradients, at most.
    The authors' code has no clipping and stops after 20.

    Use it where the features are good already, as after pretraining, and images of one class lie together.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        known: Tensor,
        alone: float = 0.04,
        k: int = 50,
        gamma: float = 3.0,
        alpha: float = 0.99,
        clip: bool = True,
        iterations: int = 1000,
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.propagated = Propagated(known, classes, k=k, gamma=gamma, alpha=alpha, clip=clip, iterations=iterations)
        self.alone = alone

    def before_epoch(self, embed: Callable[[nn.Module], Tensor]) -> Iterable[nn.Parameter]:
        if self.t >= self.alone:
            self.propagated.spread(embed(self.online.encoder))
        return ()

    def step(self, x: Tensor, y: Tensor, u: Tensor, index: Tensor) -> Iterator[Tensor]:
        on_x, on_u = self.logits(x, u)
        labels, weights = self.propagated(index)
        self.note(weight=weights.mean())
        known, spread = self.propagated.rare[y] * cross_entropy(on_x, y), weights * cross_entropy(on_u, labels)
        yield known.mean() if self.t < self.alone else torch.cat([known, spread]).mean()

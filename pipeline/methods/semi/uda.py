from collections.abc import Callable, Iterator
from math import exp
from typing import Literal

from torch import Tensor

from pipeline.losses import cross_entropy, divergence, mean_where, sharpen
from pipeline.methods.classifier import Classifier
from pipeline.nets.encoder import Encoder
from pipeline.views.recipes import FIXMATCH, WEAK

ANNEALING: dict[str, Callable[[float], float]] = {
    "none": lambda t: 1.0,
    "linear": lambda t: t,
    "log": lambda t: 1 - exp(-5 * t),
    "exp": lambda t: exp(5 * (t - 1)),
}


class UDA(Classifier):
    """Xie et al. 2019, arXiv:1904.12848, equation 1, with section 2.4 and appendix A.1.

    What the network says of a weak view, at `temperature`, is the target of a strong view of the same image, where the
    confidence before sharpening reaches `tau`; in the authors' code it must exceed it. Training signal annealing
    (`tsa`) leaves out labelled images whose own class the network gives more than a threshold that rises from
    1 / classes to 1: early for log, late for exp.

    Use it instead of FixMatch where classes are hard to tell apart and a soft target says more; `tsa` exp where labels
    are so few that the network learns them by heart.
    """

    labelled, unlabelled = dict(x=WEAK), dict(u=WEAK, s=FIXMATCH)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        temperature: float = 0.4,
        tau: float = 0.8,
        weight: float = 1.0,
        tsa: Literal["none", "linear", "log", "exp"] = "none",
        bn_update: Literal["labelled", "first", "last", "all"] = "all",
        ema: float = 0.999,
    ):
        super().__init__(encoder, classes, ema, bn_update)
        self.temperature, self.tau, self.weight, self.tsa = temperature, tau, weight, tsa

    def step(self, x: Tensor, y: Tensor, u: Tensor, s: Tensor) -> Iterator[Tensor]:
        on_x, on_u, on_s = self.logits(x, u, s)
        p, q = on_x.detach().float().softmax(1), on_u.detach().float().softmax(1)
        eta = 1 / self.classes + ANNEALING[self.tsa](self.t) * (1 - 1 / self.classes)
        unlearned = (p.gather(1, y[:, None])[:, 0] <= eta).float()
        kept = (q.amax(1) >= self.tau).float()
        self.note(kept=kept.mean(), unlearned=unlearned.mean())
        on_labels = mean_where(unlearned, cross_entropy(on_x, y))
        yield on_labels + self.weight * (kept * divergence(sharpen(q, self.temperature), on_s)).mean()

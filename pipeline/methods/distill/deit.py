from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.losses import cross_entropy, distillation
from pipeline.methods.student import Student
from pipeline.nets.branch import Branch
from pipeline.nets.distilled import by_token, token_heads
from pipeline.nets.encoder import Encoder
from pipeline.nets.mixing import MixupOrCutMix
from pipeline.views.recipes import DEIT


class DeiT(Student):
    """Touvron et al. 2021, arXiv:2012.12877, distillation through attention.

    A transformer has a distillation token beside its class token: a head on the first learns what the teacher says, one
    on the second the labels, and what is kept is the mean of the two. `labels` hard is the teacher's class; soft is its
    distribution, both at `temperature`, for which the paper has `alpha` .1. `alpha` weighs the teacher, 1 - alpha the
    labels, which alone are smoothed. `targets` and `reduction` are as in `kd`; the authors' code is loop and element.
    `mixup` and `cutmix` are alpha of the Beta distributions of the two, 0 for none: they are for the labelled images,
    and in the loop, where the teacher sees the mixed image too, for all.

    Use it for a transformer where labels are too few for one: a convolutional teacher tells it what it would need more
    images to find. Its encoder is `deit_tiny_distilled_patch16_224` or a larger one, with `args: {patch_size: 4}` or
    so for small images, and a view that keeps more of them than `crop(.08)`; `drop_path: .1`, AdamW, a warm-up and
    `repeats: 3` are the paper's.
    """

    labelled, unlabelled, columns = dict(x=DEIT), dict(u=DEIT), ("teacher",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        teacher: Branch,
        targets: Literal["sidecar", "loop"] = "loop",
        labels: Literal["hard", "soft"] = "hard",
        temperature: float = 3.0,
        alpha: float = 0.5,
        reduction: Literal["sample", "element"] = "sample",
        smoothing: float = 0.1,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        ema: float = 0.99996,
    ):
        super().__init__(encoder, classes, ema, teacher, targets, token_heads(encoder, classes))
        self.labels, self.temperature, self.alpha = labels, temperature, alpha
        self.reduction, self.smoothing, self.mixing = reduction, smoothing, MixupOrCutMix(mixup, cutmix)

    def step(self, x: Tensor, y: Tensor, u: Tensor, teacher: Tensor | None = None) -> Iterator[Tensor]:
        x, blend, known = self.mixing(x, u, F.one_hot(y, self.classes).float())
        u = blend if teacher is None else u
        says = self.told(x, u, teacher)
        by_class, by_distillation = by_token(self.online, torch.cat([x, u]))
        student = by_distillation[-len(says) :]
        if self.labels == "hard":
            taught = cross_entropy(student, says.argmax(1)).mean()
        else:
            taught = distillation(student, says, self.temperature, self.reduction)
        learned = cross_entropy(by_class[: len(x)], known, self.smoothing).mean()
        self.note(taught=taught, learned=learned)
        yield self.alpha * taught + (1 - self.alpha) * learned
        self.mixing.luck.turn()

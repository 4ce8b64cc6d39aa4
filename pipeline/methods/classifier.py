"""What methods that learn classes have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.methods.method import Method
from pipeline.nets.branch import BnUpdate, Branch, passes
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.memory import Ema


class Classifier(Method):
    """A linear classifier, and its average over time: what training is for, and the teacher where a method has one.

    `head`: in place of the linear one. After each step, and what the step remembers, the average `target` follows with
    momentum `ema`, a plain mean at first. `bn_update` says which forward pass moves the running statistics of
    BatchNorm.
    """

    target: Ema[Branch]

    def __init__(
        self, encoder: Encoder, classes: int, ema: float, bn_update: BnUpdate = "all", head: nn.Module | None = None
    ):
        super().__init__()
        self.online = Branch(encoder, head or Head([encoder.dim, classes]))
        self.target = Ema(self.online)
        self.classes, self.ema, self.bn_update = classes, ema, bn_update

    @property
    def learned(self) -> Branch:
        return self.target.net

    def logits(self, *batches: Tensor) -> list[Tensor]:
        """What the trained network says of each batch (B, classes), the labelled one first."""
        return passes(self.online, self.bn_update, *batches)

    @torch.no_grad()
    def remember(self) -> None:
        super().remember()
        self.target.follow(self.online, self.target.warm(self.ema))

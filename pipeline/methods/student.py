"""What methods have in common that learn from a teacher network."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.methods.classifier import Classifier
from pipeline.nets.branch import Branch, ask
from pipeline.nets.encoder import Encoder
from pipeline.nets.memory import Frozen

Targets = Literal["sidecar", "loop"]
"""what the teacher said once of the plain image, or what it says in each step of the view that the student sees"""


class Student(Classifier):
    """`targets` sidecar keeps no teacher; loop keeps it, frozen, and asks for no column.

    Raises ParamsError where a teacher in the loop would be shown images of another size than it learned from.
    """

    teacher: Frozen[Branch]

    def __init__(
        self,
        encoder: Encoder,
        classes: int,
        ema: float,
        teacher: Branch,
        targets: Targets,
        head: nn.Module | None = None,
    ):
        super().__init__(encoder, classes, ema, head=head)
        if targets == "loop":
            said, seen = teacher.encoder.spec["size"], encoder.spec["size"]
            if said != seen:
                raise ParamsError(
                    f"targets: loop: the teacher learned from images of {said} pixels, its student is shown {seen}; "
                    "give both the same `size`, or say targets: sidecar"
                )
            self.columns, self.teacher = (), Frozen(teacher)

    def told(self, x: Tensor, u: Tensor, teacher: Tensor | None) -> Tensor:
        """Logits of the teacher: of u (B', classes) as the sidecars have it; in the loop of x and u (B + B', classes).

        So they are of the last rows of [x, u].
        """
        return ask(self.teacher, torch.cat([x, u])) if teacher is None else teacher

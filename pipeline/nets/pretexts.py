"""Pretext tasks on a trunk that is not theirs: each has last layers of its own, and a loss for each image."""

from __future__ import annotations

from math import inf, log
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import cross_entropy
from pipeline.nets.colours import Palette, check_lightness
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.maps import last_channels
from pipeline.nets.pairs import PLACES, layout, pairs
from pipeline.nets.patches import check_sees
from pipeline.nets.tiles import turns


class Task(nn.Module):
    """`task(encoder, images, luck)` is the loss of each image, (n,); luck: (n, 5) in [0, 1). Call `remember` after the
    yield."""

    chance = inf
    """the loss of guessing, where it is known"""

    def remember(self) -> None:
        pass


class WhichTurn(Task):
    """Rotation (Gidaris et al. 2018, arXiv:1803.07728, equation 2): all four quarter turns of each image."""

    chance = log(4)

    def __init__(self, encoder: Encoder, hidden: int) -> None:
        super().__init__()
        self.classifier = Head([encoder.dim, 4])

    def forward(self, encoder: Encoder, x: Tensor, luck: Tensor) -> Tensor:
        quarters = torch.arange(4, device=x.device).repeat_interleave(len(x))
        return cross_entropy(self.classifier(encoder(turns(x).flatten(0, 1))), quarters).view(4, -1).mean(0)


class WhichPlace(Task):
    """Relative position (Doersch et al. 2015, arXiv:1505.05192, section 3), of patches without a guard of colours."""

    chance = log(len(PLACES))

    def __init__(self, encoder: Encoder, hidden: int) -> None:
        super().__init__()
        check_sees(encoder, layout(encoder.spec["size"]).patch)
        self.classifier = Head([2 * encoder.dim, hidden, len(PLACES)])

    def forward(self, encoder: Encoder, x: Tensor, luck: Tensor) -> Tensor:
        place = (len(PLACES) * luck[:, 0]).long()
        both = encoder(pairs(x, place, luck[:, 1:]).flatten(0, 1)).view(len(x), -1)
        return cross_entropy(self.classifier(both), place)


class WhichColour(Task):
    """Colorization (Zhang et al. 2016, arXiv:1603.08511, equations 2 to 4): soft bins of each place of the last map."""

    def __init__(self, encoder: Encoder, hidden: int) -> None:
        super().__init__()
        self.palette = Palette(encoder, lam=0.5, sigma=5.0)
        self.classifier = nn.Conv2d(last_channels(encoder), len(self.palette.bins), 1)

    def forward(self, encoder: Encoder, x: Tensor, luck: Tensor) -> Tensor:
        logits = self.classifier(encoder.maps(x)[-1])
        self.seen = self.palette(x, *logits.shape[2:])
        losses = cross_entropy(logits.permute(0, 2, 3, 1).flatten(0, 2), self.seen)
        return (self.palette.weight(self.seen) * losses).view(len(x), -1).mean(1)

    def remember(self) -> None:
        self.palette.follow(self.seen)


TASKS: dict[str, type[Task]] = {
    "rotation": WhichTurn,
    "relative_position": WhichPlace,
    "colorization": WhichColour,
}


def make_tasks(asked: str, encoder: Encoder, hidden: int) -> dict[str, Task]:
    """An nn.ModuleDict, of names joined by `+`, in their order.

    Raises ParamsError for other names, and where colours tell too much. Of images in colour the encoder must see the
    lightness alone, whatever the tasks: what each of them does about colours would tell which one it is (Doersch and
    Zisserman 2017, arXiv:1708.07860, on harmonised inputs), and the fringes of a lens would tell the place of a patch.
    """
    names = asked.split("+")
    if {*names} - {*TASKS} or len({*names}) < len(names):
        raise ParamsError(f"multitask: tasks {asked!r}: join some of {', '.join(TASKS)} by +, each once")
    if "colorization" in names or encoder.spec["channels"] > 1:
        check_lightness(encoder, "multitask")
    return cast("dict[str, Task]", nn.ModuleDict({name: TASKS[name](encoder, hidden) for name in names}))

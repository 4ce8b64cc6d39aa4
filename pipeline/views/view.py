"""A view: one augmented copy of a batch, each sample with draws of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pipeline.views.normalise import Normalise
from pipeline.views.ops import Op
from pipeline.views.ops.geometric import Crop
from pipeline.views.recipe import parse
from pipeline.views.warp import resize


@dataclass(frozen=True)
class Draws:
    """What is random in a view of n samples: for each step of the recipe its tensors, first dimension n."""

    n: int
    steps: tuple[dict[str, Tensor], ...]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, rows: slice) -> Draws:
        steps = tuple({name: drawn[rows] for name, drawn in step.items()} for step in self.steps)
        return Draws(len(range(self.n)[rows]), steps)

    def to(self, device: torch.device | str) -> Draws:
        moved = ({name: drawn.to(device, non_blocking=True) for name, drawn in step.items()} for step in self.steps)
        return Draws(self.n, tuple(moved))


class View:
    """The recipe made ready: `view(images, view.draw(len(images), images.shape[1:], generator))`.

    size: side of the output, unless a crop of the recipe names its own. mean, std: of each channel, on [0, 1].
    Draw for the global batch and slice by rank, so that the number of ranks changes nothing. Raises ParamsError.
    """

    def __init__(self, recipe: str, size: int, mean: Sequence[float], std: Sequence[float]):
        self.recipe, self.size, self.normalise = parse(recipe), size, Normalise(mean, std)
        self.ops = [Op.named[step.name](**step.arguments) for step in self.recipe.steps]
        self.crops = [op for op in self.ops if isinstance(op, Crop)]
        for crop in self.crops:
            crop.size = crop.pixels(size)

    def draw(self, n: int, shape: tuple[int, int, int], generator: Generator) -> Draws:
        """n: images of the global batch; shape: (C, H, W) of the stored images; a generator of the CPU."""
        height, width = shape[1:] if self.crops else (self.size, self.size)
        steps = []
        for op in self.ops:
            steps.append(op.draw(n, height, width, generator))
            if isinstance(op, Crop):
                height = width = op.pixels(self.size)
        return Draws(n, tuple(steps))

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, C, H, W) -> float32 (B, C, side, side), normalised, on the device of the images."""
        with torch.autocast(images.device.type, enabled=False):  # a crop is a matrix product: bf16 would show
            view = images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
            if not self.crops and view.shape[2:] != (self.size, self.size):
                view = resize(view, self.size)
            for op, drawn in zip(self.ops, draws.to(images.device).steps, strict=True):
                view = op.apply(view, **drawn)
            return self.normalise(view)

"""What a training step sees, as a pure function of the step's number: resuming needs no other state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from pipeline import seed
from pipeline.data.images import Images
from pipeline.views.view import View


class Column(Protocol):
    """Something known of each image, such as a teacher's logits."""

    def __call__(self, rows: Tensor) -> Tensor: ...


@dataclass
class Stream:
    """An endless sequence of images: epoch after epoch, each in an order of its own.

    With `repeats` every image stands several times in its batch (repeated augmentation, arXiv:1901.09335), and an epoch
    is over when each was seen that often. The copies are batch / repeats rows apart: they get draws of their own, and
    no process sees two of one image where there are as many processes as repeats, or more.
    """

    images: Images
    rows: Tensor
    """rows of `images`; a row that stands here twice is seen twice an epoch"""
    batch: int
    """images per step, over all processes"""
    views: Mapping[str, View]
    columns: Mapping[str, Column] = field(default_factory=dict)
    repeats: int = 1
    """a divisor of `batch`"""

    @property
    def distinct(self) -> int:
        """Images per step, copies not counted."""
        return self.batch // self.repeats

    def at(self, step: int, seed_: int, name: str, rows: Tensor | None = None) -> Tensor:
        """The rows of the global batch (B,). `rows` takes the place of the stream's own, and has as many."""
        rows, n = self.rows if rows is None else rows, len(self.rows)
        first, last = step * self.distinct, (step + 1) * self.distinct
        epochs = range(first // n, (last - 1) // n + 1)
        order = torch.cat([torch.randperm(n, generator=seed.generator(seed_, "order", name, e)) for e in epochs])
        return rows[order[first - epochs[0] * n : last - epochs[0] * n]].repeat(self.repeats).cpu()

    def starts_epoch(self, step: int) -> bool:
        n = len(self.rows)
        return step == 0 or (step * self.distinct) // n > ((step - 1) * self.distinct) // n


@dataclass
class Batches:
    """The streams of a stage; the views are made on `device`, from draws that were made for the global batch."""

    streams: Mapping[str, Stream]
    seed: int
    device: torch.device
    part: Mapping[str, slice]
    """the rows of each stream's batch that are this process's own"""
    index: bool = False
    """whether the method asks for the rows of the unlabelled images"""

    def at(self, step: int, rows: Tensor | None = None) -> dict[str, Tensor]:
        """What the method is called with. `rows`: those of the unlabelled images to draw from, where it chose some."""
        batch = {}
        for name, stream in self.streams.items():
            part = self.part[name]
            every = stream.at(step, self.seed, name, rows if name == "unlabelled" else None)
            mine = every[part]
            images = stream.images.at(mine).to(self.device)
            shape = (images.shape[1], images.shape[2], images.shape[3])
            for view_name, view in stream.views.items():
                draws = view.draw(len(every), shape, seed.generator(self.seed, "view", step, view_name))
                made = view(images, draws[part].to(self.device))
                batch[view_name] = made.to(memory_format=torch.channels_last)
            batch |= {key: column(mine).to(self.device) for key, column in stream.columns.items()}
            if self.index and name == "unlabelled":
                batch["index"] = mine.to(self.device)
        return batch

    def starts_epoch(self, step: int) -> bool:
        """Of the unlabelled images, or of the labelled ones where there are no others."""
        return self.streams.get("unlabelled", next(iter(self.streams.values()))).starts_epoch(step)

"""Random numbers that belong to images, not to processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.losses import everyone, own


class Luck(nn.Module):
    """Uniform in [0, 1) for each image of the batch, others in each step: `luck(images, *shape)` is (B, *shape).

    Drawn for the global batch from the seed in its state, so that neither the number of processes nor a resume changes
    anything. Within a step every call gives the same numbers: draw once. Call `turn()` after the yield.
    """

    seed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**62, ()))

    def forward(self, images: Tensor, *shape: int) -> Tensor:
        draws = torch.Generator().manual_seed(int(self.seed))
        return own(torch.rand(everyone(len(images)), *shape, generator=draws)).to(images.device)

    @torch.no_grad()
    def turn(self) -> None:
        self.seed += 1

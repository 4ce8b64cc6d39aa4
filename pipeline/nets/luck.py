"""Random numbers that belong to images, not to processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.losses import everyone, own

BETA, ORDER, EACH = 1 << 29, 1 << 30, 1 << 31
"""One seed gives each kind of draw numbers of its own; a generator of the CPU looks at the low 32 bits of a seed."""


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

    def each(self, shape: Sequence[int], *batches: Tensor) -> list[Tensor]:
        """Uniform in [0, 1) for each image of each batch, (B, *shape), others than those of `luck(images, *shape)`."""
        draws = torch.Generator().manual_seed(int(self.seed) ^ EACH)
        counts = [everyone(len(batch)) for batch in batches]
        return [own(torch.rand(count, *shape, generator=draws)).to(batches[0].device) for count in counts]

    def beta(self, alpha: float, *batches: Tensor) -> list[Tensor]:
        """A draw of Beta(alpha, alpha) for each image of each batch, (B,)."""
        counts = [everyone(len(batch)) for batch in batches]
        draws = torch.Generator().manual_seed(int(self.seed) ^ BETA)
        a, b = torch._standard_gamma(torch.full((2, sum(counts)), alpha), generator=draws).clamp_min(1e-30)
        return [own(part).to(batches[0].device) for part in (a / (a + b)).split(counts)]

    def order(self, *batches: Tensor) -> Tensor:
        """A permutation of all images of all batches of all processes, (n,)."""
        draws = torch.Generator().manual_seed(int(self.seed) ^ ORDER)
        return torch.randperm(sum(everyone(len(b)) for b in batches), generator=draws).to(batches[0].device)

    @torch.no_grad()
    def turn(self) -> None:
        self.seed += 1

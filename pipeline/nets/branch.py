"""An encoder and its head as one network, and one forward for several batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pipeline.nets.encoder import Encoder


class Branch(nn.Module):
    """head(encoder(x)): the one shape of `online`, so that `online.encoder` can be kept whatever the method."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def together(net: nn.Module, *batches: Tensor) -> list[Tensor]:
    """One forward of all batches, so that every BatchNorm sees them as one; the outputs, batch by batch."""
    return list(net(torch.cat(batches)).split([len(batch) for batch in batches]))

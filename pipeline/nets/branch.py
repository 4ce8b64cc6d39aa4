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


def in_groups(net: nn.Module, x: Tensor, groups: int, dealt: bool = False) -> Tensor:
    """net(x), row by row, where each BatchNorm sees x in `groups` parts of at least two rows: one after the other.

    A part is a run of neighbouring rows or, with `dealt`, every `groups`-th row. Where queries go in runs and keys are
    dealt, a key's statistics are those of other images than its query's, so they do not tell which key is the positive:
    what shuffling over several GPUs does in MoCo (arXiv:1911.05722, section 3.3), here without a draw.
    """
    groups, rows = max(1, min(groups, len(x) // 2)), torch.arange(len(x), device=x.device)
    parts = [rows[group::groups] for group in range(groups)] if dealt else rows.tensor_split(groups)
    return torch.cat([net(x[part]) for part in parts])[torch.cat(list(parts)).argsort()]

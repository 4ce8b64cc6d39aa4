"""An encoder and its head as one network, and one forward for several batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

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


BnUpdate = Literal["labelled", "first", "last", "all"]
"""which forward pass of a step moves the running statistics of BatchNorm"""


def passes(net: nn.Module, update: BnUpdate, *batches: Tensor) -> list[Tensor]:
    """The outputs of the batches, the labelled one first. Every BatchNorm normalises by what it sees.

    `all`: one forward of them together. Else one for each, and the running statistics move in the first (`labelled` and
    `first`; where batches were interleaved, the first holds some of all) or in the last.
    """
    if update == "all":
        return together(net, *batches)
    moving = len(batches) - 1 if update == "last" else 0
    outputs = []
    for number, batch in enumerate(batches):
        with running_statistics(net, moves=number == moving):
            outputs.append(net(batch))
    return outputs


def dealt(net: nn.Module, update: BnUpdate, *batches: Tensor) -> list[Tensor]:
    """`passes` for `first` and `last` after the rows were dealt, one by one, into batches as large as the first.

    So every BatchNorm sees some of all kinds of images in each pass, as where MixMatch interleaves (arXiv:1905.02249,
    the authors' code). The outputs are in the order of `batches`. `labelled` and `all` are as in `passes`.
    """
    if update in ("labelled", "all"):
        return passes(net, update, *batches)
    x, rows = torch.cat(batches), torch.arange(sum(map(len, batches)), device=batches[0].device)
    hands = len(x) // len(batches[0])
    outputs = torch.cat(passes(net, update, *(x[hand::hands] for hand in range(hands))))
    back = torch.cat([rows[hand::hands] for hand in range(hands)]).argsort()
    return list(outputs[back].split([len(batch) for batch in batches]))


@contextmanager
def running_statistics(net: nn.Module, moves: bool) -> Iterator[None]:
    """Inside, forwards in train mode move the running statistics of BatchNorm, or leave them."""
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm) and not moves]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, before in zip(norms, tracked, strict=True):
            norm.track_running_stats = before


@torch.no_grad()
def ask(net: nn.Module, x: Tensor) -> Tensor:
    """What a network says of x in fp32: in the mode it is in, without gradient, and no running statistics move."""
    with running_statistics(net, moves=False):
        return net(x).detach().float()


def in_groups(net: nn.Module, x: Tensor, groups: int, dealt: bool = False) -> Tensor:
    """net(x), row by row, where each BatchNorm sees x in `groups` parts of at least two rows: one after the other.

    A part is a run of neighbouring rows or, with `dealt`, every `groups`-th row. Where queries go in runs and keys are
    dealt, a key's statistics are those of other images than its query's, so they do not tell which key is the positive:
    what shuffling over several GPUs does in MoCo (arXiv:1911.05722, section 3.3), here without a draw.
    """
    groups, rows = max(1, min(groups, len(x) // 2)), torch.arange(len(x), device=x.device)
    parts = [rows[group::groups] for group in range(groups)] if dealt else rows.tensor_split(groups)
    return torch.cat([net(x[part]) for part in parts])[torch.cat(list(parts)).argsort()]

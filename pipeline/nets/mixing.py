"""Images and labels between two others (mixup, Zhang et al. 2017, arXiv:1710.09412)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import everyone, gather, own
from pipeline.nets.luck import Luck

Mix = Literal["all", "none", "labelled", "unlabelled", "separate"]
"""who is mixed with whom: all with all, none, those of one kind among themselves, or each kind among itself"""


def mixed(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """share a + (1 - share) b, row by row; share: (B,)."""
    share = share.to(a.dtype).view(-1, *[1] * (a.ndim - 1))
    return share * a + (1 - share) * b


def partners(order: Tensor, *batches: Tensor) -> list[Tensor]:
    """For each row of each batch another one to mix it with: of all rows of all batches and processes, by `order`.

    `order` is what `Luck.order` gives for the same batches. Without gradient.
    """
    with torch.no_grad():
        every = torch.cat([gather(batch) for batch in batches])[order]
        return [own(part) for part in every.split([everyone(len(batch)) for batch in batches])]


def within(order: Tensor, labelled: int, mix: Mix) -> Tensor:
    """The same order (n,), of which the first `labelled` rows are the labelled images, kept to what `mix` allows.

    Who is not mixed is his own partner.
    """
    if mix == "all":
        return order
    first, rest = order[order < labelled], order[order >= labelled]
    if mix in ("none", "unlabelled"):
        first = first.sort().values
    if mix in ("none", "labelled"):
        rest = rest.sort().values
    return torch.cat([first, rest])


def mixup(
    luck: Luck, alpha: float, mix: Mix, images: Sequence[Tensor], labels: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Images and labels, each mixed with a partner's (MixMatch, arXiv:1905.02249, equations 8 to 11).

    The first batch is the labelled one; labels: probabilities. Each image has a share of its own, of Beta(alpha, alpha)
    and at least a half, so that it stays nearer to itself than to its partner.
    """
    order = within(luck.order(*images), everyone(len(images[0])), mix)
    shares = [torch.maximum(share, 1 - share) for share in luck.beta(alpha, *images)]

    def blend(batches: Sequence[Tensor]) -> list[Tensor]:
        return [mixed(*three) for three in zip(batches, partners(order, *batches), shares, strict=True)]

    return blend(images), blend(labels)

"""Images and labels between two others (mixup, Zhang et al. 2017, arXiv:1710.09412, equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.losses import everyone, gather, own


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

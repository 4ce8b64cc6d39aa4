"""Images and labels between two others (mixup, Zhang et al. 2017, arXiv:1710.09412), or of two others (CutMix)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

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


def rectangles(share: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """(B, 1, height, width): True in a rectangle of 1 - share of the area (CutMix, arXiv:1905.04899).

    It has the shape of the image, its centre is at `place` (B, 2) in [0, 1), and it is cut off at the border.
    """
    inside = []
    for full, centre in ((height, place[:, 0]), (width, place[:, 1])):
        side = (full * (1 - share).sqrt()).floor()
        offset = torch.arange(full, device=share.device) - ((centre * full).floor() - side / 2)[:, None]
        inside.append((offset >= 0) & (offset < side[:, None]))
    return inside[0][:, None, :, None] & inside[1][:, None, None, :]


class MixupOrCutMix(nn.Module):
    """Each image with another one of its batch: blended, or with a rectangle of it (as in DeiT, arXiv:2012.12877).

    `mixup`, `cutmix`: alpha of the Beta distribution of the shares; 0 is never. Where both are done, each is half the
    time. Call `luck.turn()` after the yield.
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        super().__init__()
        self.mixup, self.cutmix, self.luck = mixup, cutmix, Luck()

    def forward(self, x: Tensor, u: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled images x with their labels (B, K), probabilities, and others u, each among their own kind."""
        if not self.mixup and not self.cutmix:
            return x, u, labels
        order = within(self.luck.order(x, u), everyone(len(x)), "separate")
        often = 0.5 if self.mixup and self.cutmix else float(self.cutmix > 0)
        blends, cuts = (self.luck.beta(alpha or 1.0, x, u) for alpha in (self.mixup, self.cutmix))
        both, images, shares = partners(order, x, u), [], []
        for image, other, blend, cut, draw in zip((x, u), both, blends, cuts, self.luck.each((3,), x, u), strict=True):
            hole = rectangles(cut, draw[:, 1:], image.shape[2], image.shape[3])
            is_cut = draw[:, 0] < often
            with_hole = torch.where(hole, other, image)
            images.append(torch.where(is_cut[:, None, None, None], with_hole, mixed(image, other, blend)))
            shares.append(torch.where(is_cut, 1 - hole.float().mean((1, 2, 3)), blend))
        (of_others,) = partners(order[: everyone(len(x))], labels)
        return images[0], images[1], mixed(labels, of_others, shares[0])

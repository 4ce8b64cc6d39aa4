"""What a network gives on its way: one map of features for each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.evaluating import evaluating
from pipeline.nets.multiview import MultiView
from pipeline.nets.small import SmallResNet
from pipeline.nets.wide import WideResNet

if TYPE_CHECKING:
    from pipeline.nets.encoder import Encoder


def feature_maps(net: nn.Module, x: Tensor) -> list[Tensor]:
    """(B, C, h, w) of each stage, from the image up; those of several networks side by side.

    Raises ParamsError for a network of timm that does not show them.
    """
    if isinstance(net, MultiView):
        groups = net.groups(x)
        each = [feature_maps(one, groups[group]) for group, one in net.nets.items()]
        return [torch.cat(stage, 1) for stage in zip(*each, strict=True)]
    if isinstance(net, SmallResNet | WideResNet):
        return net.maps(x)
    if not hasattr(net, "forward_intermediates"):
        raise ParamsError(f"{type(net).__name__} does not show the maps of its stages; choose another encoder")
    return net.forward_intermediates(x, norm=True, intermediates_only=True)  # type: ignore[operator]


def last_channels(encoder: Encoder) -> int:
    """How many channels the last map has."""
    size = encoder.spec["size"]
    with evaluating(encoder), torch.no_grad():
        return encoder.maps(torch.zeros(2, encoder.spec["channels"], size, size))[-1].shape[1]

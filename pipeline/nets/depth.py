"""How far each parameter stands from the images: what layer-wise learning rate decay counts in."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from pipeline.nets.multiview import MultiView
from pipeline.nets.small import NETWORKS


def depths(net: nn.Module, name: str) -> dict[str, int]:
    """Parameter name -> 0 for the stem, 1, 2, ... block by block; timm's own grouping for a network of timm."""
    if isinstance(net, MultiView):
        grouped = {group: depths(one, name) for group, one in net.nets.items()}
        return {f"nets.{group}.{inner}": depth for group, one in grouped.items() for inner, depth in one.items()}
    if name not in NETWORKS:
        from timm.models import group_parameters

        timm_net: Any = net
        return group_parameters(net, timm_net.group_matcher(coarse=False), reverse=True)
    names = [parameter for parameter, _ in net.named_parameters()]
    blocks = [match and match[0] for match in (re.match(r"layer\d+\.\d+\.", parameter) for parameter in names)]
    order = {block: depth + 1 for depth, block in enumerate(dict.fromkeys(filter(None, blocks)))}
    last = len(order) + 1  # a norm after the last block
    return {
        parameter: order[block] if block else (0 if parameter.startswith(("conv1", "bn1")) else last)
        for parameter, block in zip(names, blocks, strict=True)
    }

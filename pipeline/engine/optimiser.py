"""The optimiser of a method: weights decay, biases and norms do not, lower layers may learn more slowly."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch.optim import Optimizer

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.methods.method import Method


def build(method: Method, chosen: params.Optimiser) -> Optimizer:
    groups = [group | {"initial_lr": group["lr"]} for group in _groups(method, chosen)]
    if chosen.name == "sgd":  # what timm.optim makes of these two names; importing timm takes seconds
        return torch.optim.SGD(groups, lr=chosen.lr, momentum=chosen.momentum, nesterov=chosen.momentum > 0)
    if chosen.name == "adamw":
        return torch.optim.AdamW(groups, lr=chosen.lr)
    from timm.optim import create_optimizer_v2

    try:
        return create_optimizer_v2(groups, chosen.name, lr=chosen.lr, weight_decay=0.0, momentum=chosen.momentum)
    except (ValueError, KeyError, AssertionError) as error:
        raise ParamsError(f"optimiser.name {chosen.name!r}: timm.optim does not build it ({error})") from None


def _groups(method: Method, chosen: params.Optimiser) -> list[dict[str, Any]]:
    """Parameters of one decay and one rate together, in a fixed order."""
    encoder = method.online.encoder
    depth = {id(p): encoder.depth_of(name) for name, p in encoder.named_parameters()} if chosen.layer_decay < 1 else {}
    groups = defaultdict(list)
    for parameter in method.parameters():
        if parameter.requires_grad:
            below = encoder.depths - depth[id(parameter)] if id(parameter) in depth else 0
            groups[below, parameter.ndim > 1].append(parameter)
    return [
        {
            "params": members,
            "lr": chosen.lr * chosen.layer_decay**below,
            "weight_decay": chosen.weight_decay if decays else 0.0,
        }
        for (below, decays), members in sorted(groups.items())
    ]

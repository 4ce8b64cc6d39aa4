"""Importing this module tells timm about our networks, so that folders written by `export` load by their names."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, register_model
from torch import nn

import pipeline.nets.selective  # noqa: F401
from pipeline.nets.small import NETWORKS

default_cfgs = {  # timm looks for this name in the module of a network that it registers
    name: {"input_size": (3, 32, 32), "num_classes": 10, "first_conv": "conv1", "classifier": "fc"} for name in NETWORKS
}


def _register(name: str) -> None:
    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        return build_model_with_cfg(NETWORKS[name], name, pretrained, **arguments)

    create.__name__ = name
    register_model(create)


for _name in NETWORKS:
    _register(_name)

"""ResNets with selective kernels, of any width, from timm's blocks. Importing this module tells timm about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import ResNet
from timm.models.sknet import SelectiveKernelBottleneck
from torch import nn

LAYERS = {"sk_resnet50": (3, 4, 6, 3), "sk_resnet101": (3, 4, 23, 3), "sk_resnet152": (3, 8, 36, 3)}
"""blocks of the four stages"""

default_cfgs = {  # timm looks for this name in the module of a network that it registers
    name: {"input_size": (3, 224, 224), "num_classes": 1000, "first_conv": "conv1.0", "classifier": "fc"}
    for name in LAYERS
}


class Block(SelectiveKernelBottleneck):
    """Two 3x3 paths, each over all channels, and the softmax between them: the numbers of SimCLRv2's own code."""

    def __init__(self, inplanes: int, planes: int, stride: int, downsample: nn.Module | None, **more: Any) -> None:
        more["sk_kwargs"] = {"kernel_size": [3, 3], "split_input": False, "rd_channels": max(planes // 16, 32)}
        super().__init__(inplanes, planes, stride, downsample, **more)


class SKResNet(ResNet):
    """Li et al. 2019, arXiv:1903.06586, on ResNet-D, as in SimCLRv2 (Chen et al. 2020, arXiv:2006.10029, table 1).

    Every layer is `width` times as wide as a ResNet's. `small` is for small images: a 3x3 stem, no stride, no max-pool
    (arXiv:2002.05709, appendix B.9).
    """

    def __init__(self, layers: Sequence[int], width: float = 1, small: bool = False, **arguments: Any) -> None:
        block: Any = Block
        stem = int(32 * width)
        arguments |= {"channels": tuple(2 * stem << stage for stage in range(4)), "stem_width": stem}
        super().__init__(block, tuple(layers), stem_type="deep", avg_down=True, **arguments)
        if small:
            self.add_module("conv1", nn.Conv2d(self.in_chans, 2 * stem, 3, 1, 1, bias=False))
            self.add_module("maxpool", nn.Identity())
            self.init_weights()


def _register(name: str) -> None:
    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        return build_model_with_cfg(SKResNet, name, pretrained, **{"layers": LAYERS[name], **arguments})

    create.__name__ = name
    register_model(create)


for _name in LAYERS:
    _register(_name)

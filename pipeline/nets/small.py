"""Residual networks for images of 8 to 96 pixels, buildable without timm (whose import takes seconds).

Constructor arguments are named as timm names them, so that `pipeline.nets.registry` can hand the same classes to timm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pipeline.nets.parts import Pointwise, StochasticDepth, classifier, he_normal, linear_depth
from pipeline.nets.wide import WideResNet


class BasicBlock(nn.Module):
    """y = relu(shortcut(x) + f(x)), f = conv, norm, relu, conv, norm (He et al. 2015, arXiv:1512.03385, figure 2)."""

    def __init__(self, inside: int, outside: int, stride: int, skip: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.drop_path = StochasticDepth(skip)
        self.downsample = None
        if stride > 1 or inside != outside:
            self.downsample = nn.Sequential(Pointwise(inside, outside, stride), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (shortcut + self.drop_path(y)).relu()


class SmallResNet(nn.Module):
    """A ResNet with a 3x3 stem and no max-pool. Parameters are named as in timm's resnet18."""

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        stem_stride: int,
        zero_last: bool,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, width << (len(blocks) - 1)
        self.conv1 = nn.Conv2d(in_chans, width, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        skips, inside = iter(linear_depth(drop_path_rate, sum(blocks))), width
        self.stages = [f"layer{stage + 1}" for stage in range(len(blocks))]
        for stage, (name, count) in enumerate(zip(self.stages, blocks, strict=True)):
            layer, outside = nn.Sequential(), width << stage
            for block in range(count):
                layer.append(BasicBlock(inside, outside, 2 if stage and not block else 1, next(skips)))
                inside = outside
            self.add_module(name, layer)
        self.fc = classifier(self.num_features, num_classes)
        he_normal(self)
        if zero_last:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_features), or (B, num_classes)."""
        return self.fc(self.maps(x)[-1].mean((2, 3)))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Of the stem and of each stage, (B, C, h, w)."""
        seen = [self.bn1(self.conv1(x)).relu()]
        for stage in self.stages:
            seen.append(getattr(self, stage)(seen[-1]))
        return seen


def tiny(width: int = 16, stem_stride: int = 2, stages: int = 3, **arguments: Any) -> SmallResNet:
    """Three blocks, three halvings, for 8 pixels and a CPU. No residual branch starts at zero: all learn at once.

    With fewer `stages` its last map is larger, for a method that looks at the map.
    """
    return SmallResNet((1,) * stages, width, stem_stride, False, **arguments)


def resnet18_small(**arguments: Any) -> SmallResNet:
    """ResNet-18 for small images (He et al. 2015; the stem of Chen et al. 2020, arXiv:2002.05709, appendix B.9)."""
    return SmallResNet((2, 2, 2, 2), 64, 1, True, **arguments)


def resnet34_small(**arguments: Any) -> SmallResNet:
    """ResNet-34 with the same stem."""
    return SmallResNet((3, 4, 6, 3), 64, 1, True, **arguments)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "tiny": tiny,
    "resnet18_small": resnet18_small,
    "resnet34_small": resnet34_small,
    "wrn_28_2": WideResNet,
}

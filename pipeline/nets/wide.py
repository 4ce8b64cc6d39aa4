"""The wide residual network on which semi-supervised methods are compared."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from pipeline.nets.parts import StochasticDepth, classifier, he_normal, linear_depth

SLOPE = 0.1


def norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    """With TensorFlow's epsilon, as in MixMatch and FixMatch."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=momentum)


class WideBlock(nn.Module):
    """y = shortcut(x) + f(x), f = (norm, leaky relu, conv) twice. The `first`'s shortcut sees the activation."""

    def __init__(self, inside: int, outside: int, stride: int, first: bool, skip: float, momentum: float) -> None:
        super().__init__()
        self.first = first
        self.bn1 = norm(inside, momentum)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn2 = norm(outside, momentum)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.drop_path = StochasticDepth(skip)
        self.shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activated = leaky_relu(self.bn1(x), SLOPE)
        y = self.conv2(leaky_relu(self.bn2(self.conv1(activated)), SLOPE))
        return self.shortcut(activated if self.first else x) + self.drop_path(y)


class WideResNet(nn.Module):
    """WRN-depth-width (Zagoruyko and Komodakis 2016, arXiv:1605.07146), as MixMatch and FixMatch use it.

    Their TensorFlow convolutions have biases; ours have none, since only norms read the sums that would carry them.
    WRN-28-2 has 1,467,610 parameters with ten classes and three channels. The running statistics of its norms are over
    about 1 / `bn_momentum` steps, a thousand as theirs: runs of a few hundred steps want a larger one.
    """

    def __init__(
        self,
        depth: int = 28,
        width: int = 2,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        bn_momentum: float = 0.001,
    ) -> None:
        super().__init__()
        count, rest = divmod(depth - 4, 6)
        if rest:
            raise ValueError(f"depth {depth}: a wide residual network has 6 n + 4 layers")
        self.num_classes, self.num_features = num_classes, 64 * width
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        skips, inside = iter(linear_depth(drop_path_rate, 3 * count)), 16
        self.stages = ["layer1", "layer2", "layer3"]
        for stage, name in enumerate(self.stages):
            layer, outside = nn.Sequential(), (16 * width) << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                layer.append(WideBlock(inside, outside, stride, stage == block == 0, next(skips), bn_momentum))
                inside = outside
            self.add_module(name, layer)
        self.bn = norm(inside, bn_momentum)
        self.fc = classifier(self.num_features, num_classes)
        he_normal(self)
        if isinstance(self.fc, nn.Linear):
            nn.init.xavier_normal_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_features), or (B, num_classes)."""
        return self.fc(self.maps(x)[-1].mean((2, 3)))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Of the stem and of each stage, (B, C, h, w); the last one behind the norm that follows it."""
        seen = [self.conv1(x)]
        for stage in self.stages:
            seen.append(getattr(self, stage)(seen[-1]))
        return [*seen[:-1], leaky_relu(self.bn(seen[-1]), SLOPE)]

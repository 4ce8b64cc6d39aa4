"""What our residual networks share."""

from __future__ import annotations

from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Skip a residual branch for a whole sample with probability `p` (Huang et al. 2016, arXiv:1603.09382).

    What is kept is divided by 1 - p, so the expectation is that of evaluation, which skips nothing.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without bias that picks the pixels of its stride first: the same numbers, and safe.

    Left to itself, oneDNN 3.13 (torch 2.15) writes beyond the weight gradient of a strided one that has fewer than 8
    channels, channels last, on processors with AVX2 and no AVX-512.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__(inside, outside, 1, bias=False)
        self.picked = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., :: self.picked, :: self.picked])


def linear_depth(rate: float, blocks: int) -> list[float]:
    """The skip probability of each block: 0 for the first, `rate` for the last, as in timm."""
    return [rate * block / max(blocks - 1, 1) for block in range(blocks)]


def he_normal(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852, section 2.2, backward case): N(0, 2 / (k * k * channels out))."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def layer_norms(network: nn.Module) -> nn.Module:
    """Each BatchNorm replaced by a LayerNorm over channels and pixels, with its weights; the activation that timm puts
    into some stays. No sample sees another one then."""
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            norm = nn.GroupNorm(1, child.num_features, child.eps, child.affine)
            norm.weight, norm.bias = child.weight, child.bias
            after = [getattr(child, part) for part in ("drop", "act") if hasattr(child, part)]
            setattr(network, name, nn.Sequential(norm, *after) if after else norm)
        else:
            layer_norms(child)
    return network


def classifier(features: int, classes: int) -> nn.Module:
    return nn.Linear(features, classes) if classes else nn.Identity()

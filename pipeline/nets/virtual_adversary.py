"""The small change of an image that a classifier notices most."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.backends import cudnn

from pipeline.losses import divergence
from pipeline.nets.branch import running_statistics
from pipeline.nets.luck import Luck


class VirtualAdversary(nn.Module):
    """Of each image the change of length `eps` that moves what `net` says of it most: (B, C, H, W) -> the same shape.

    Miyato et al. 2017, arXiv:1704.03976: d <- unit(grad_d KL(p(x) || p(x + xi d))), `iterations` times
    from a random direction. In fp32 throughout, since lower precision rounds xi away; with the same dropout in all
    passes, since it would else be what makes them differ; no running statistics move. Call `turn()` after the yield.
    """

    def __init__(self, xi: float, eps: float, iterations: int = 1) -> None:
        super().__init__()
        self.xi, self.eps, self.iterations, self.luck = xi, eps, iterations, Luck()

    def forward(self, net: nn.Module, x: Tensor) -> Tensor:
        x = x.detach().float()
        d = torch.special.ndtri(self.luck(x, *x.shape[1:]).clamp_min(2**-25))
        kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
        full = cudnn.flags(allow_tf32=False, **kept)
        with torch.autocast(x.device.type, enabled=False), full, running_statistics(net, moves=False):
            with torch.no_grad():
                p = _same_draws(net, x).softmax(1)
            for _ in range(self.iterations):
                d = (self.xi * directions(d)).requires_grad_()
                (d,) = torch.autograd.grad(divergence(p, _same_draws(net, x + d)).sum(), d)
        return self.eps * directions(d)

    def lds(self, net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
        """LDS, KL(p(x) || p(x + r)) of each image, (B,); p(x) = softmax(logits) has no gradient."""
        r = self(net, x)
        with running_statistics(net, moves=False):
            on_changed = net(x + r)
        return divergence(logits.detach().float().softmax(1), on_changed)

    def turn(self) -> None:
        self.luck.turn()


def _same_draws(net: nn.Module, x: Tensor) -> Tensor:
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        return net(x)


def directions(d: Tensor) -> Tensor:
    """Each image of length 1, however small it was; a zero stays."""
    largest = d.abs().flatten(1).amax(1).clamp_min(torch.finfo(d.dtype).tiny)
    d = d / largest.view(-1, *[1] * (d.ndim - 1))
    return nn.functional.normalize(d.flatten(1)).view_as(d)

"""Attacks that know the network: FGSM and PGD.

`network` takes images in [0, 1] and gives logits: normalisation belongs to it, so that `eps` is in units of pixels
(k/255 for k levels of 8 bits). Results stay within eps of the images and within [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def fgsm(network: Network, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """x + eps sign(grad_x CE(network(x), y)), the true label's loss (Goodfellow et al. 2014, arXiv:1412.6572).

    images (B, C, H, W) in [0, 1], labels (B,).
    """
    return (images + eps * _uphill(network, images, labels)).clamp(0, 1)


def pgd(
    network: Network, images: Tensor, labels: Tensor, eps: float, steps: int, start: Tensor, step: float | None = None
) -> Tensor:
    """x <- P(x + step sign(grad_x CE)), P the nearest image in the ball (Madry et al. 2017, arXiv:1706.06083).

    start (B, C, H, W) in [-1, 1]: where in the ball, in units of eps, it begins. step: 2.5 eps / steps, where not said.
    """
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    x = (images + eps * start).clamp(low, high)
    for _ in range(steps):
        x = (x + (2.5 * eps / steps if step is None else step) * _uphill(network, x, labels)).clamp(low, high)
    return x


def _uphill(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """The sign of the gradient; each image has one of its own, since the losses are summed."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(images), labels, reduction="sum"), images)
    return gradient.sign()

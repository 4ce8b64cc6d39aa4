"""Pure functions of tensors, named as the papers name them. Logarithms and temperatures stay fp32 under autocast."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def unit(z: Tensor) -> Tensor:
    """Rows of length 1, in fp32; the floor on the length keeps a zero row at zero, also when it came from fp16."""
    return F.normalize(z.float(), dim=-1, eps=1e-6)


def gather(z: Tensor) -> Tensor:
    """The rows of all processes, in rank order, with gradient: (B, ...) -> (world * B, ...).

    Every process computes the whole loss from them. The backward pass sums over processes and DDP then averages, so
    that the gradient is that of one process with the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return z
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(z.contiguous()))


def nt_xent(a: Tensor, b: Tensor, tau: float) -> Tensor:
    """NT-Xent (arXiv:2002.05709, equation 1), mean over the 2N anchors of both directions.

    a, b: (N, D) projections of two views, row i of the same image; they need not be normalised.
    The positive stays in the denominator; an anchor is never its own negative. Chance: ln(2N - 1).
    """
    with torch.autocast(a.device.type, enabled=False):
        z = unit(torch.cat([gather(a), gather(b)]))
        similarity = (z @ z.T / tau).fill_diagonal_(-torch.inf)
        positive = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return F.cross_entropy(similarity, positive)


def cross_entropy(logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """-sum_k q_k log p_k of each sample, (B,). y: classes (B,) or probabilities (B, K).

    Smoothing spreads over all K classes: q = (1 - s) onehot(y) + s / K.
    """
    return F.cross_entropy(logits.float(), y, reduction="none", label_smoothing=smoothing)

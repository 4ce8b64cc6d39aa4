"""Methods that see logits in the place of images: `x` (B, K) is then what the network says of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.methods.method import Method
from pipeline.nets.memory import Ema


def logits(method: Method) -> Method:
    """`method` with networks that give back what they are given."""
    method.online = nn.Flatten()
    method.online.register_buffer("nothing", torch.zeros(1))  # for the average to follow
    method.target = Ema(method.online)
    return method


def of(*rows: list[float]) -> Tensor:
    """Logits of these probabilities, row by row."""
    return torch.tensor(rows).clamp_min(1e-12).log()


def guesses(sure: list[float], classes: list[int], k: int = 10) -> Tensor:
    """Logits (B, k) of which softmax gives `sure` to the class named, and the rest to the others alike."""
    p = (1 - torch.tensor(sure))[:, None].expand(-1, k) / (k - 1)
    return p.scatter(1, torch.tensor(classes)[:, None], torch.tensor(sure)[:, None]).log()


def softmax(z: Tensor) -> np.ndarray:
    z = z.detach().double().numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def cross_entropy(z: Tensor, y: np.ndarray) -> np.ndarray:
    """-ln softmax(z)[y] of each row, in float64."""
    return -np.log(softmax(z)[np.arange(len(y)), y])


def batch(n: int, ratio: int = 2, k: int = 10, scale: float = 3.0) -> dict[str, Tensor]:
    """Logits for the views of n labelled and `ratio` n unlabelled images."""
    draw = torch.Generator().manual_seed(n)
    x, u, s = (scale * torch.randn(size, k, generator=draw) for size in (n, ratio * n, ratio * n))
    return {"x": x, "y": torch.randint(k, (n,), generator=draw), "u": u, "s": s}

"""What tests of semi-supervised methods share."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.catalogue import Entry
from pipeline.methods.method import Method
from tests.contract import small_task as task


def seen(entry: Entry, n: int = 4, ratio: int = 2) -> dict[str, Tensor]:
    """Views of n labelled and ratio n unlabelled images, each with a mean of its own."""
    draw = torch.Generator().manual_seed(n)
    batch = {name: torch.randn(n, 1, 8, 8, generator=draw) for name in entry.labelled}
    for place, name in enumerate(entry.unlabelled, 1):
        batch[name] = place + (1 + place) * torch.randn(ratio * n, 1, 8, 8, generator=draw)
    batch["y"] = torch.randint(10, (n,), generator=draw)
    if "index" in entry.load().asks():
        batch["index"] = torch.randperm(1797, generator=draw)[: ratio * n]
    return batch


def logits(net: nn.Module, x: Tensor) -> np.ndarray:
    """What a copy of the network says in train mode, in float64: the statistics of the network stay."""
    with torch.no_grad():
        return copy.deepcopy(net).train()(x).double().numpy()


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def running_mean(method: Method, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """Of the first BatchNorm of the trained network after one forward, and how many passes have moved it."""
    method(**batch)
    norm = method.online.encoder.net.bn1
    return norm.running_mean.clone(), int(norm.num_batches_tracked)


def running_mean_of(method: Method, x: Tensor) -> Tensor:
    """The same where a fresh network has seen these images in one pass, and nothing else."""
    net = copy.deepcopy(method.online).train()
    net(x)
    return net.encoder.net.bn1.running_mean


def steps(method: Method, entry: Entry, count: int, lr: float = 0.05) -> None:
    """A few steps of gradient descent on digits, as the engine takes them, without its schedule."""
    batches = task.batches(entry)
    for n in range(count):
        task.loss_at(n, method, batches).backward()
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.grad is not None:
                    parameter -= lr * parameter.grad
                    parameter.grad = None
        method.remember()

"""What tests of students share: networks and teachers that see logits in the place of images, and an oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.catalogue import Entry
from pipeline.methods.method import Method
from tests.contract import small_task as task
from tests.methods import seeing

K = 10


def batch(n: int = 3, ratio: int = 2, scale: float = 3.0) -> dict[str, Tensor]:
    """Logits for n labelled and `ratio` n unlabelled images, and what the sidecars say of the second."""
    draw = torch.Generator().manual_seed(n)
    x, u, teacher = (scale * torch.randn(size, K, generator=draw) for size in (n, ratio * n, ratio * n))
    return {"x": x, "y": torch.randint(K, (n,), generator=draw), "u": u, "teacher": teacher}


def without_sidecars(seen: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """The same for a method that asks its teacher, and all logits that `contrary` and its student see."""
    kept = {name: value for name, value in seen.items() if name != "teacher"}
    return kept, torch.cat([kept["x"], kept["u"]])


def plain(entry: Entry, **knobs: Any) -> Method:
    """A student that says what it sees, and reads the sidecars."""
    return seeing.logits(task.method(entry, targets="sidecar", **knobs))


def contrary(entry: Entry, **knobs: Any) -> Method:
    """The same with a teacher in the loop that says three times the contrary of what it sees."""
    method = seeing.logits(task.method(entry, targets="loop", **knobs))
    method.teacher.net = nn.Linear(K, K, bias=False)
    method.teacher.net.weight.data.copy_(-3 * torch.eye(K))
    return method


def hard(logits: Tensor, classes: Tensor, smoothing: float = 0.0) -> np.ndarray:
    """-sum_k q_k ln p_k of each row, q = (1 - s) onehot + s / K."""
    z = logits.detach().double().numpy()
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    q = (1 - smoothing) * np.eye(K)[classes.numpy()] + smoothing / K
    return -(q * log_p).sum(1)

"""Several opinions as one."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor


def ensemble(logits: Sequence[Tensor]) -> Tensor:
    """Logits whose softmax is the mean of the softmax of each, (B, K) fp32; one alone is left as it is."""
    if len(logits) == 1:
        return logits[0]
    return torch.stack([each.log_softmax(1) for each in logits]).logsumexp(0) - log(len(logits))

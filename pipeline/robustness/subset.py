"""Sets that hold some of a classifier's classes, as ImageNet-A does 200 of 1,000 (arXiv:1907.07174)."""

from __future__ import annotations

from torch import Tensor


def guesses(logits: Tensor, classes: Tensor) -> Tensor:
    """The class of the largest logit among `classes` (k,), for each row of `logits` (n, K): (n,), numbered as in K.

    The others are left out before the maximum is taken: a guess outside the set would be counted wrong for nothing.
    """
    return classes[logits[:, classes].argmax(1)]

"""A teacher's labels without shards and sidecars: only what an audit asks of them."""

from types import SimpleNamespace

import torch


class Said:
    """Stands for `Labels`, and hands out its logits a few rows at a time."""

    def __init__(self, logits, teacher="finetune", block=64, keys=(), classes=()):
        self._logits, self.teachers, self._block = logits, [teacher], block
        self.shards = SimpleNamespace(keys=keys, manifest=SimpleNamespace(classes=classes))

    def __len__(self):
        return len(self._logits)

    def confidence(self):
        return self._logits.softmax(1).amax(1)

    def guess(self):
        return self._logits.argmax(1)

    def blocks(self):
        for first in range(0, len(self), self._block):
            rows = slice(first, min(first + self._block, len(self)))
            yield rows, self._logits[rows]


def two_classes(sure, guess):
    """Logits (n, 2) that give the guessed class of each row that probability."""
    p, hot = torch.tensor(sure), torch.tensor(guess)[:, None] == torch.arange(2)
    return torch.where(hot, p[:, None].log(), (1 - p)[:, None].log())

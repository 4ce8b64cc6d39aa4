"""Logits and labels of the tests of score."""

import pytest
import torch


@pytest.fixture
def draw():
    def logits_and_labels(n, classes=7):
        chance = torch.Generator().manual_seed(n)
        return torch.randn(n, classes, generator=chance), torch.randint(classes, (n,), generator=chance)

    return logits_and_labels

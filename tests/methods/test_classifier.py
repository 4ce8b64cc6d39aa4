"""What methods that learn classes have in common: the average follows after all that the step remembers."""

import pytest
import torch

from pipeline.methods.classifier import Classifier
from tests.contract import small_task as task


class Labels(Classifier):
    labelled, yields = {"x": "plain"}, 1

    def step(self, x, y):
        for _ in range(self.yields):
            yield self.logits(x)[0].logsumexp(1).mean()
        self.left = self.target.net.head[0].bias.clone()


def taught():
    method = Labels(task.encoder(), 10, 0.9)
    method.target.updates.fill_(100)
    method(x=torch.randn(4, 1, 8, 8), y=torch.arange(4))
    with torch.no_grad():
        method.online.head[0].bias += 1
    return method


def test_the_average_is_what_is_learned_and_follows_after_the_step():
    method = taught()
    before = method.learned.head[0].bias.clone()
    method.remember()
    torch.testing.assert_close(method.learned.head[0].bias, before + 0.1)
    assert torch.equal(method.left, before), "what the step remembers comes first"


def test_after_a_step_that_is_wrong_it_stays():
    method = taught()
    method.yields = 2
    before = method.learned.head[0].bias.clone()
    with pytest.raises(RuntimeError, match="yielded twice"):
        method(x=torch.randn(4, 1, 8, 8), y=torch.arange(4))
        method.remember()
    assert torch.equal(method.learned.head[0].bias, before)

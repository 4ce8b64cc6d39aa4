import torch
from torch import nn
from torch.nn.functional import batch_norm

from pipeline.nets.heads import Head


def test_layers_and_biases():
    def shape(head):
        return [(type(m).__name__, getattr(m, "bias", None) is not None) for m in head]

    linear = ("Linear", True)
    assert shape(Head([8, 3])) == shape(Head([8, 3], norm=False)) == [linear]
    hidden = [("Linear", False), ("BatchNorm1d", True), ("ReLU", False)]
    assert shape(Head([8, 6, 4, 3])) == [*hidden, *hidden, linear]
    assert shape(Head([8, 6, 3], norm=False)) == [linear, ("ReLU", False), linear]


def test_the_function():
    head, x = Head([8, 6, 3]), torch.randn(5, 8)
    hidden = batch_norm(x @ head[0].weight.T, None, None, head[1].weight, head[1].bias, True).clamp(min=0)
    assert torch.allclose(head(x), hidden @ head[3].weight.T + head[3].bias, atol=1e-5)


def test_first_layers_are_the_same_modules():
    head = Head([8, 6, 4, 3])
    assert list(head.first(0)) == []
    assert list(head.first(1)) == list(head)[:3]
    assert list(head.first(2)) == list(head)[:6]
    assert list(head.first(3)) == list(head)
    assert list(Head([8, 6, 3], norm=False).first(1))[-1].__class__ is nn.ReLU


def test_a_head_without_last_bias_is_rebuilt_as_such():
    head = Head([8, 6, 3], last_bias=False)
    assert head[-1].bias is None and Head(**head.spec)[-1].bias is None
    assert "last_bias" not in Head([8, 3]).spec  # models that were saved before are read as they were

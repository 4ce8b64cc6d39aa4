"""The interface: what is refused when a class is made, and how the engine runs a step."""

import pytest
import torch
from torch import nn

from pipeline.methods.method import Method


def test_views_and_arguments_of_step_must_have_the_same_names():
    with pytest.raises(TypeError, match=r"Wrong sees \['a', 'b'\] but its step asks for \['a', 'c'\]"):

        class Wrong(Method):
            unlabelled = {"a": "plain", "b": "plain"}

            def step(self, a, c):
                yield a


def test_labelled_views_bring_y_and_columns_bring_themselves():
    with pytest.raises(TypeError, match=r"sees \['teacher', 'u', 'x', 'y'\]"):

        class Wrong(Method):
            labelled, unlabelled, columns = {"x": "plain"}, {"u": "plain"}, ("teacher",)

            def step(self, x, u):
                yield x


def test_what_methods_have_in_common_needs_no_step_but_what_is_made_of_it_is_checked():
    class Common(Method):
        pass

    with pytest.raises(TypeError, match=r"Wrong sees \['a'\]"):

        class Wrong(Common):
            unlabelled = {"a": "plain"}

            def step(self, b):
                yield b


def test_index_may_be_asked_for_and_is_no_view():
    class Bank(Method):
        unlabelled = {"a": "plain"}

        def step(self, a, index):
            yield a

    assert Bank.asks() == {"a", "index"}


class Counting(Method):
    """What stands before the yield, the loss, what stands after it."""

    unlabelled = {"a": "plain"}

    def __init__(self, yields=1):
        super().__init__()
        self.weight, self.yields = nn.Parameter(torch.ones(())), yields
        self.register_buffer("seen", torch.zeros(()))

    def step(self, a):
        for _ in range(self.yields):
            loss = (self.weight * a).sum()
            self.note(loss=loss)
            yield loss
        assert not torch.is_grad_enabled()
        self.seen += a.sum()


def test_forward_runs_to_the_yield_and_remember_runs_the_rest():
    method = Counting()
    loss = method(a=torch.ones(3))
    assert loss.item() == 3 and method.seen == 0
    loss.backward()
    method.remember()
    assert method.seen == 3 and method.weight.grad == 3


def test_a_note_is_no_state_and_holds_no_graph():
    method = Counting()
    method(a=torch.ones(3))
    assert not method.notes["loss"].requires_grad and method.state_dict().keys() == {"weight", "seen"}
    method.notes["old"] = torch.ones(())
    method(a=torch.ones(3))
    assert method.notes.keys() == {"loss"}, "each step starts with none"


def test_a_second_yield_is_an_error():
    method = Counting(yields=2)
    method(a=torch.ones(3))
    with pytest.raises(RuntimeError, match="yielded twice"):
        method.remember()

"""The rate is a pure function of progress."""

from math import cos, pi

import pytest
import torch

from pipeline.engine.schedule import factor, set_rate
from pipeline.params import Schedule


def test_cosine():
    assert [factor(Schedule(), t) for t in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_fixmatch_ends_at_a_fifth():
    assert factor(Schedule(name="fixmatch"), 1) == pytest.approx(0.195, abs=1e-3)
    assert factor(Schedule(name="fixmatch"), 0.5) == pytest.approx(cos(7 * pi / 32))


def test_linear():
    assert [factor(Schedule(name="linear"), t) for t in (0, 0.25, 1)] == pytest.approx([1, 0.75, 0])


def test_constant():
    assert {factor(Schedule(name="constant"), t / 10) for t in range(10)} == {1.0}


@pytest.mark.parametrize("name", ["cosine", "fixmatch", "linear", "constant"])
def test_warmup_rises_linearly_and_the_shape_takes_what_is_left(name):
    schedule = Schedule(name=name, warmup=0.2)
    assert [factor(schedule, t) for t in (0, 0.05, 0.1, 0.15)] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert factor(schedule, 0.2) == pytest.approx(1)
    assert factor(schedule, 0.6) == pytest.approx(factor(Schedule(name=name), 0.5))


def test_each_group_keeps_its_own_peak():
    groups = [{"params": [torch.zeros(1)], "initial_lr": 0.1, "lr": 7}, {"params": [torch.ones(1)], "initial_lr": 0.01}]
    optimiser = torch.optim.SGD(groups, lr=1.0)
    for _ in range(2):  # not compounded
        set_rate(optimiser, Schedule(), 0.5)
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.05, 0.005])

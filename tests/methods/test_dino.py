"""DINO: a centred, sharpened teacher that sees the global crops alone."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.nets.memory import rising
from tests.contract import small_task as task
from tests.test_losses import SIZES

ENTRY = catalogue.find("dino", "pretext")
GLOBAL, LOCAL = "ab", "cdefgh"


def crops(n):
    draw = torch.Generator().manual_seed(0)
    sides = dict.fromkeys(GLOBAL, 8) | dict.fromkeys(LOCAL, 4)
    return {name: torch.randn(n, 1, side, side, generator=draw) for name, side in sides.items()}


def scores(branch, last, batch, names):
    """Cosines with the rows of the last layer, in float64; crops of one size in one forward."""
    z = branch(torch.cat([batch[name] for name in names])).detach().double().numpy()
    w = last.weight.detach().double().numpy()
    z, w = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (z, w))
    return np.split(z @ w.T, len(names))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def oracle(method, batch, tau_t, tau_s=0.1):
    """arXiv:2104.14294, equation 3 and Algorithm 1: -p_t log p_s, the mean over pairs of different crops."""
    teacher = scores(method.target.net, method.target_last.net, batch, GLOBAL)
    student = [view for names in (GLOBAL, LOCAL) for view in scores(method.online, method.last, batch, names)]
    centre, losses = method.centre.double().numpy(), []
    for t in range(2):
        p_t = softmax((teacher[t] - centre) / tau_t)
        losses += [-(p_t * np.log(softmax(student[s] / tau_s))).sum(1).mean() for s in range(8) if s != t]
    return np.mean(losses)


def other_teacher(**knobs):
    """A method whose teacher and centre are not what they start as."""
    method = task.method(ENTRY, tau_t=0.07, **knobs)
    nn.init.normal_(method.target.net.head[-1].weight)
    nn.init.normal_(method.target_last.net.weight)
    nn.init.normal_(method.centre, std=0.1)
    return method


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("t, tau_t", [(0.0, 0.04), (0.1, 0.055), (0.2, 0.07), (0.9, 0.07)])
def test_the_loss_is_the_formula_and_the_temperature_warms_up(n, t, tau_t):
    method = other_teacher(warmup=0.2)
    method.t = t
    assert method(**crops(n)).item() == pytest.approx(oracle(method, crops(n), tau_t), rel=1e-4)


def test_the_students_temperature_is_a_knob():
    method = other_teacher(tau_s=0.3)
    assert method(**crops(3)).item() == pytest.approx(oracle(method, crops(3), 0.07, tau_s=0.3), rel=1e-4)


def test_a_uniform_output_costs_ln_k():
    method = task.method(ENTRY, out=50)
    for last in (method.last, method.target_last.net):
        last.forward = lambda z, frozen=False: torch.zeros(len(z), 50)
    assert method(**crops(3)).item() == pytest.approx(log(50)) and method.chance == log(50)


def test_the_loss_of_a_batch_seen_four_times_is_that_of_the_batch():
    method = other_teacher().eval()
    tiled = {name: crop.repeat(4, 1, 1, 1) for name, crop in crops(5).items()}
    assert method(**tiled).item() == pytest.approx(method(**crops(5)).item(), rel=1e-5)


def test_the_centre_moves_after_the_yield_by_a_tenth_of_the_way_to_the_teachers_mean():
    method, batch = other_teacher(), crops(5)
    before = method.centre.clone()
    teacher = np.concatenate(scores(method.target.net, method.target_last.net, batch, GLOBAL))
    method(**batch)
    assert torch.equal(method.centre, before)
    method.remember()
    expected = 0.9 * before.double().numpy() + 0.1 * teacher.mean(0)
    np.testing.assert_allclose(method.centre.numpy(), expected, atol=1e-6)


def test_the_centre_is_part_of_the_state():
    """stable-pretraining keeps it as a plain attribute: a resumed run starts from none."""
    method = other_teacher()
    resumed = task.method(ENTRY, init=1, tau_t=0.07)
    resumed.load_state_dict(method.state_dict())
    assert method.centre.any() and torch.equal(resumed.centre, method.centre)
    assert resumed(**crops(5)).item() == method(**crops(5)).item()


def test_the_teacher_sees_the_global_crops_alone_and_gets_no_gradient():
    method, seen = task.method(ENTRY), []
    method.target.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    method(**crops(5)).backward()
    assert seen == [(10, 1, 8, 8)]
    teacher = [*method.target.parameters(), *method.target_last.parameters()]
    assert all(parameter.grad is None for parameter in teacher)


def test_the_teacher_is_the_average_of_the_formula_with_a_momentum_that_moves_each_step():
    method = task.method(ENTRY, m=0.5)
    pairs = [
        (method.target.net.head[0].weight, method.online.head[0].weight),
        (method.target_last.net.weight, method.last.weight),
    ]
    expected = [teacher.clone() for teacher, _ in pairs]
    for step in range(3):
        method.t = step / 3
        method(**crops(5))
        with torch.no_grad():
            for _, student in pairs:
                student.add_(1.0)
        method.remember()
        m = rising(0.5, step / 3)
        expected = [m * old + (1 - m) * student.detach() for old, (_, student) in zip(expected, pairs, strict=True)]
        for (teacher, _), value in zip(pairs, expected, strict=True):
            torch.testing.assert_close(teacher, value)


@pytest.mark.parametrize("t, moves", [(0.1, False), (0.2, True)])
def test_the_last_layer_stands_still_at_first(t, moves):
    method = task.method(ENTRY, frozen=0.2)
    method.t = t
    method(**crops(5)).backward()
    assert method.last.weight.grad.any() == moves
    assert method.online.head[0].weight.grad.any()


def test_the_lengths_of_the_last_layers_rows_mean_nothing():
    """Weight normalisation with its gain fixed at 1."""
    method = task.method(ENTRY)
    loss = method(**crops(5)).item()
    with torch.no_grad():
        method.last.weight.mul_(7)
    assert method(**crops(5)).item() == pytest.approx(loss, rel=1e-5)
    assert [name for name, _ in method.last.named_parameters()] == ["weight"]


def test_the_head_has_three_layers_with_gelu_and_no_norm():
    method = task.method(ENTRY, hidden=7, dim=5)
    linear = nn.Linear
    assert [type(layer) for layer in method.online.head] == [linear, nn.GELU, linear, nn.GELU, linear]
    assert method.online.head.dims == [16, 7, 7, 5] and method.last.weight.shape[1] == 5


def test_the_teacher_is_what_is_kept():
    method = task.method(ENTRY)
    assert method.learned is method.target.net


def test_the_defaults_are_the_papers():
    found = {name: default for name, (_, default) in ENTRY.knobs.items()}
    assert (found["out"], found["dim"], found["hidden"], found["m"]) == (65536, 256, 2048, 0.996)
    assert (found["tau_s"], found["tau_first"], found["tau_t"]) == (0.1, 0.04, 0.07)
    assert len({ENTRY.unlabelled[name] for name in LOCAL}) == 1 and len(set(ENTRY.unlabelled.values())) == 3


@pytest.mark.parametrize("norm", [False, True])
def test_the_head_has_batch_norm_where_it_is_asked_for(norm):
    head = task.method(ENTRY, norm=norm).online.head
    assert any(isinstance(module, torch.nn.BatchNorm1d) for module in head) == norm

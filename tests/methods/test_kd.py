"""Distillation as in arXiv:1503.02531, section 2: the two losses, their weights, and who is asked what."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.nets.branch import Branch
from pipeline.nets.heads import Head
from pipeline.nets.memory import Frozen
from tests.contract import small_task as task
from tests.methods.taught import K, batch, contrary, hard, plain, without_sidecars
from tests.semi import softmax

ENTRY = catalogue.find("kd", "distill")
LOOP = task.variants([ENTRY])["kd-loop"]


def soft(student, teacher, temperature):
    """T^2 sum_k q_k ln(q_k / p_k) of each row, in float64."""
    q, p = (softmax(z.double().numpy() / temperature) for z in (teacher, student))
    return temperature**2 * (q * (np.log(q) - np.log(p))).sum(1)


def test_a_teacher_in_the_loop_is_shown_images_of_the_size_that_it_learned_from():
    """In the sidecars its size does not matter."""
    teacher, encoder = Branch(task.encoder(), Head([task.encoder().dim, K])), task.encoder()
    encoder.spec = encoder.spec | {"size": 12}
    made = ENTRY.load()(encoder, classes=K, teacher=teacher)
    assert not hasattr(made, "teacher")
    with pytest.raises(ParamsError, match=r"teacher learned from images of 8 pixels, its student is shown 12"):
        ENTRY.load()(encoder, classes=K, teacher=teacher, targets="loop")


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("knobs", [{}, {"temperature": 20.0, "alpha": 0.3}, {"reduction": "element"}], ids=str)
def test_the_loss_is_the_formula(n, knobs):
    seen, method = batch(n), plain(ENTRY, **knobs)
    temperature, alpha = knobs.get("temperature", 4.0), knobs.get("alpha", 0.9)
    kl = soft(seen["u"], seen["teacher"], temperature).mean() / (K if "reduction" in knobs else 1)
    expected = alpha * kl + (1 - alpha) * hard(seen["x"], seen["y"]).mean()
    assert method(**seen).item() == pytest.approx(expected, rel=1e-5)
    assert kl > 0.1


@pytest.mark.parametrize("n", (2, 17))
def test_in_the_loop_the_teacher_says_what_it_sees_of_labelled_images_too(n):
    seen, every = without_sidecars(batch(n))
    expected = 0.9 * soft(every, -3 * every, 4.0).mean() + 0.1 * hard(seen["x"], seen["y"]).mean()
    assert contrary(ENTRY)(**seen).item() == pytest.approx(expected, rel=1e-5)


def test_alpha_weighs_the_soft_targets():
    """Of alpha 1 the labels are nothing, of alpha 0 the teacher."""
    seen = batch()
    all_soft, all_hard = (plain(ENTRY, alpha=alpha) for alpha in (1.0, 0.0))
    assert all_soft(**seen).item() == all_soft(**seen | {"y": (seen["y"] + 1) % K}).item()
    assert all_hard(**seen).item() == all_hard(**seen | {"teacher": seen["teacher"].flip(1)}).item()
    assert all_hard(**seen).item() == pytest.approx(hard(seen["x"], seen["y"]).mean(), rel=1e-6)


def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn_of_it():
    seen, method = batch(), plain(ENTRY, alpha=1.0)
    u = seen["teacher"].clone().requires_grad_()
    loss = method(**seen | {"u": u})
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(loss, u)[0].abs().max() < 1e-6


def gradient(temperature, scale, **knobs):
    seen, method = batch(5, scale=scale), plain(ENTRY, alpha=1.0, temperature=temperature, **knobs)
    u = seen["u"].requires_grad_()
    return torch.autograd.grad(method(**seen), u)[0]


def test_the_gradient_is_of_one_size_at_any_temperature_and_a_kth_per_element():
    """At a high temperature it is (z_s - z_t) / K of centred logits, as equation 4 has it, once T^2 is in it."""
    seen = batch(5, scale=1.0)
    apart = seen["u"] - seen["teacher"]
    apart = (apart - apart.mean(1, keepdim=True)) / K / len(apart)
    torch.testing.assert_close(gradient(200.0, 1.0), apart, rtol=0.02, atol=1e-4)
    torch.testing.assert_close(gradient(400.0, 1.0), apart, rtol=0.02, atol=1e-4)
    torch.testing.assert_close(gradient(4.0, 1.0, reduction="element") * K, gradient(4.0, 1.0))


def test_who_reads_the_sidecars_keeps_no_teacher_and_who_asks_reads_none():
    reads, asks = task.method(ENTRY), task.method(ENTRY, targets="loop")
    assert reads.columns == ("teacher",) and not any(isinstance(module, Frozen) for module in reads.modules())
    assert asks.columns == () and not asks.train().teacher.net.training
    before = {name: value.clone() for name, value in asks.teacher.state_dict().items()}
    for step in range(2):
        task.loss_at(step, asks, task.batches(LOOP)).backward()
        asks.remember()
    assert all(torch.equal(value, before[name]) for name, value in asks.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in asks.teacher.parameters())


def test_the_teacher_in_the_loop_sees_the_views_of_the_student():
    method, seen = task.method(ENTRY, targets="loop"), []
    method.teacher.net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    drawn = task.batches(LOOP).at(0)
    method(**drawn)
    assert torch.equal(seen[0], torch.cat([drawn["x"], drawn["u"]])) and len(seen) == 1

"""Distillation through attention, arXiv:2012.12877: two tokens, two heads, what each learns, and what is kept."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.nets.heads import TokenHeads
from tests.contract import small_task as task
from tests.methods.taught import K, hard
from tests.semi import softmax

ENTRY = catalogue.find("deit", "distill")


def deit(mixup=0.0, cutmix=0.0, **knobs):
    return task.method(ENTRY, mixup=mixup, cutmix=cutmix, **knobs)


def seen(n=3):
    draw = torch.Generator().manual_seed(n)
    x, u = (torch.randn(size, 1, 8, 8, generator=draw) for size in (n, 2 * n))
    y, teacher = torch.randint(K, (n,), generator=draw), 3 * torch.randn(2 * n, K, generator=draw)
    return {"x": x, "y": y, "u": u, "teacher": teacher}


def logits(method, images):
    """What each head says, by hand: timm's own tokens, and the two linear layers."""
    net, (first, second) = method.online.encoder.net, method.online.head.heads
    with torch.no_grad():
        tokens = net.forward_features(images)
        return first(tokens[:, 0]), second(tokens[:, 1])


def kl(student, teacher, temperature):
    q, p = (softmax(z.double().numpy() / temperature) for z in (teacher, student))
    return (temperature**2 * (q * (np.log(q) - np.log(p))).sum(1)).mean()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize(
    "knobs",
    [{}, {"smoothing": 0.0}, {"alpha": 0.1}, {"labels": "soft"}, {"labels": "soft", "reduction": "element"}],
    ids=str,
)
def test_the_loss_is_the_formula(n, knobs):
    """Of the class token the labels, of the distillation token the teacher."""
    batch, method = seen(n), deit(targets="sidecar", **knobs)
    by_class, _ = logits(method, batch["x"])
    _, by_distillation = logits(method, batch["u"])
    learned = hard(by_class, batch["y"], knobs.get("smoothing", 0.1)).mean()
    if "labels" in knobs:
        taught = kl(by_distillation, batch["teacher"], 3.0) / (K if "reduction" in knobs else 1)
    else:
        taught = hard(by_distillation, batch["teacher"].argmax(1)).mean()
    alpha = knobs.get("alpha", 0.5)
    assert method(**batch).item() == pytest.approx(alpha * taught + (1 - alpha) * learned, rel=1e-4)


@pytest.mark.parametrize("labels", ("hard", "soft"))
def test_in_the_loop_the_teacher_is_asked_of_the_view_itself(labels):
    batch, method = seen(5), deit(labels=labels)
    del batch["teacher"]
    every = torch.cat([batch["x"], batch["u"]])
    with torch.no_grad():
        says = method.teacher.net.eval()(every)
    by_class, by_distillation = logits(method, every)
    taught = hard(by_distillation, says.argmax(1)).mean() if labels == "hard" else kl(by_distillation, says, 3.0)
    expected = (taught + hard(by_class[:5], batch["y"], 0.1).mean()) / 2
    assert method(**batch).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("alpha, taught", [(1.0, True), (0.0, False)])
def test_each_token_has_a_teacher_of_its_own(alpha, taught):
    """Of alpha 1 the head of the class token learns nothing, of alpha 0 that of the distillation token."""
    method = deit(targets="sidecar", alpha=alpha)
    method(**seen()).backward()
    by_class, by_distillation = (head.weight.grad.abs().sum() > 0 for head in method.online.head.heads)
    assert (by_class, by_distillation) == (not taught, taught)


def test_what_is_kept_is_the_mean_of_both_heads():
    method = deit(targets="sidecar", ema=0.0)
    method(**seen()).backward()
    method.remember()
    images = seen(17)["u"]
    by_class, by_distillation = logits(method, images)
    assert isinstance(method.learned.head, TokenHeads)
    with torch.no_grad():
        kept = method.learned(images)
    torch.testing.assert_close(kept, (by_class + by_distillation) / 2)
    assert not torch.allclose(by_class, by_distillation, atol=1e-3)


@pytest.mark.parametrize("encoder", [{}, {"name": "vit_tiny_patch16_224", "args": task.VIT}], ids=str)
def test_an_encoder_without_a_distillation_token_is_refused(encoder, monkeypatch):
    monkeypatch.setitem(task.NEEDS, "deit", encoder)
    with pytest.raises(ParamsError, match=r"no distillation token.*deit_tiny_distilled_patch16_224"):
        task.method(ENTRY)


def test_in_the_loop_student_and_teacher_see_the_same_mixed_images():
    batch, method = seen(17), deit(mixup=0.8, cutmix=1.0)
    del batch["teacher"]
    x, u, known = method.mixing(batch["x"], batch["u"], torch.eye(K)[batch["y"]])
    shown = {"teacher": [], "student": []}
    for name, net in (("teacher", method.teacher.net), ("student", method.online.encoder)):
        net.register_forward_pre_hook(lambda module, given, name=name: shown[name].append(given[0]))
    found = method(**batch).item()
    assert torch.equal(shown["teacher"][0], shown["student"][0]) and len(shown["teacher"]) == 1
    assert torch.equal(shown["student"][0], torch.cat([x, u])) and not torch.equal(x, batch["x"])
    with torch.no_grad():
        says = method.teacher.net.eval()(torch.cat([x, u]))
    by_class, by_distillation = logits(method, torch.cat([x, u]))
    smooth = 0.9 * known + 0.1 / K
    learned = -(smooth * by_class[:17].log_softmax(1)).sum(1).mean().item()
    assert found == pytest.approx((learned + hard(by_distillation, says.argmax(1)).mean()) / 2, rel=1e-4)
    assert ((known > 0).sum(1) == 2).any()


def test_what_the_sidecars_say_is_of_images_that_are_not_mixed():
    batch, method, shown = seen(17), deit(mixup=0.8, cutmix=1.0, targets="sidecar"), []
    method.online.encoder.register_forward_pre_hook(lambda module, given: shown.append(given[0]))
    method(**batch)
    assert torch.equal(shown[0][17:], batch["u"]) and not torch.equal(shown[0][:17], batch["x"])


def test_each_step_mixes_otherwise():
    batch, method = seen(17), deit(mixup=0.8, cutmix=1.0, targets="sidecar", ema=0.0)
    first, again = method(**batch).item(), method(**batch).item()
    method.remember()
    assert first == again != method(**batch).item()

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
    batch, method = seen(n), task.method(ENTRY, targets="sidecar", **knobs)
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
    batch, method = seen(5), task.method(ENTRY, labels=labels)
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
    method = task.method(ENTRY, targets="sidecar", alpha=alpha)
    method(**seen()).backward()
    by_class, by_distillation = (head.weight.grad.abs().sum() > 0 for head in method.online.head.heads)
    assert (by_class, by_distillation) == (not taught, taught)


def test_what_is_kept_is_the_mean_of_both_heads():
    method = task.method(ENTRY, targets="sidecar", ema=0.0)
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

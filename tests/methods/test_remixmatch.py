"""ReMixMatch: guesses aligned and then sharpened, strong views anchored to them, mixing and turning."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.nets.tiles import turned
from pipeline.views.recipes import WEAK
from tests.contract import small_task as task
from tests.gloo import both
from tests.methods.test_mixmatch import mixtures
from tests.semi import logits, running_mean, seen, softmax, steps
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("remixmatch", "semi")
K = 10


def made(**knobs):
    return task.method(ENTRY, **{"rise": ENTRY.knobs["rise"][1]} | knobs)


def guesses(method, batch):
    """What is said of the weak view, times given / guessed, normalised; then squared and normalised."""
    p = softmax(logits(method.online, batch["u"]))
    p = p * (1e-6 + method.alignment.given.double().mean(0).numpy())
    p = p / (1e-6 + method.alignment.guessed.double().mean(0).numpy())
    p = p / p.sum(1, keepdims=True)
    return p**2 / (p**2).sum(1, keepdims=True)


def oracle(method, batch, views="usr"):
    """(labelled, mixed, first strong view unmixed, turned): the four terms of the loss. Without BatchNorm."""
    q, n = guesses(method, batch), len(batch["x"])
    images = [batch["x"], *(batch[name] for name in views)]
    x, p = mixtures(method, images, [np.eye(K)[batch["y"]], *[q] * len(views)])
    z, quarters = logits(method.online, x), (4 * method.luck(batch["s"])).long()
    with torch.no_grad():
        spun = method.quarters(method.online.encoder(turned(batch["s"], quarters))).double().numpy()
    terms = (z[:n], p[:n]), (z[n:], p[n:]), (logits(method.online, batch["s"]), q), (spun, quarters.numpy())
    return [oracle_cross_entropy(*term).mean() for term in terms]


def taught(anchored=2, n=8, **knobs):
    """After two steps: what is given and guessed differ."""
    method = task.without_batch_statistics(made(anchored=anchored, **knobs))
    steps(method, ENTRY, 2)
    return method, seen(ENTRY, n)


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("anchored", (1, 2))
def test_the_loss_is_the_formula(n, anchored):
    method, batch = taught(anchored, n)
    labelled, mixed, first, turns = oracle(method, batch, "usr"[: 1 + anchored])
    assert method(**batch).item() == pytest.approx(labelled + 1.5 * mixed + 0.5 * first + 0.5 * turns, rel=1e-5)
    assert "".join(method.unlabelled) == "usr"[: 1 + anchored]


def test_rotation_counts_from_the_start_and_the_guesses_later():
    method, batch = taught()
    labelled, mixed, first, turns = oracle(method, batch)
    for t, share in ((0.0, 0.0), (0.0078, 0.5), (0.0156, 1.0)):
        method.t = t
        expected = labelled + 0.5 * turns + share * (1.5 * mixed + 0.5 * first)
        assert method(**batch).item() == pytest.approx(expected, rel=1e-5)


def test_each_weight_is_of_its_own_term():
    off = {"weight": 0.0, "first": 0.0, "rotation": 0.0}
    for place, knob in enumerate(("weight", "first", "rotation"), 1):
        method, batch = taught(**off | {knob: 2.0})
        terms = oracle(method, batch)
        assert method(**batch).item() == pytest.approx(terms[0] + 2 * terms[place], rel=1e-5)


def test_guesses_are_aligned_before_they_are_sharpened():
    """The other way round, the square would be of the guess alone."""
    method, batch = taught()
    p = softmax(logits(method.online, batch["u"]))
    method.alignment.guessed.copy_(torch.softmax(torch.randn(K), 0).expand(128, K))
    ratio = (method.alignment.given.mean(0) / method.alignment.guessed.mean(0)).double().numpy()
    other = p**2 * ratio / (p**2 * ratio).sum(1, keepdims=True)
    assert np.abs(guesses(method, batch) - other).max() > 0.01
    labelled, mixed, first, turns = oracle(method, batch)
    assert method(**batch).item() == pytest.approx(labelled + 1.5 * mixed + 0.5 * first + 0.5 * turns, rel=1e-5)


def test_what_was_said_before_alignment_is_remembered_after_the_step():
    method, batch = made(), seen(ENTRY)
    p = softmax(logits(method.online, batch["u"])).mean(0)
    method(**batch)
    assert (method.alignment.guessed == 0.1).all()
    method.remember()
    np.testing.assert_allclose(method.alignment.guessed[0].numpy(), p, atol=1e-6)
    assert method.alignment.given[0].tolist() == pytest.approx((np.bincount(batch["y"], minlength=K) / 4).tolist())


def _remembered(rank, world):
    method, batch = task.without_batch_statistics(made()), seen(ENTRY)
    mine = {name: value.chunk(world)[rank] for name, value in batch.items()}
    method(**mine)
    method.remember()
    return method.alignment.given, method.alignment.guessed


@pytest.mark.slow  # two processes import torch
def test_shares_are_of_the_batches_of_all_processes():
    one = _remembered(0, 1)
    for two in both(_remembered, 2):
        for mine, theirs in zip(one, two, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_guesses_have_no_gradient():
    """The weak view, of which nothing else is asked, teaches nothing where it is not among what is mixed."""
    method, batch = taught(weight=0.0, rotation=0.0)
    batch["u"].requires_grad_()
    method(**batch).backward()
    assert batch["u"].grad is None or not batch["u"].grad.any()


def test_labelled_images_are_seen_in_strong_views_too():
    """As Algorithm 1 has it; the guess is made of a weak one."""
    assert ENTRY.labelled["x"] == ENTRY.unlabelled["s"] == ENTRY.unlabelled["r"] != ENTRY.unlabelled["u"]
    assert "randaugment" in ENTRY.labelled["x"] and "randaugment" not in ENTRY.unlabelled["u"]


def test_running_statistics_move_once_in_the_last_of_the_mixed_batches():
    method, batch, met = made(), seen(ENTRY, 8, ratio=1), []
    norm = method.online.encoder.net.bn1
    norm.register_forward_pre_hook(lambda norm, inputs: met.append((inputs[0].detach(), norm.track_running_stats)))
    mean, moved = running_mean(method, batch)
    assert moved == 1 and [tracked for _, tracked in met] == [False] * (len(met) - 1) + [True]
    torch.testing.assert_close(mean, 0.1 * met[-1][0].mean((0, 2, 3)))
    assert len(met[-1][0]) == 8


def test_each_step_mixes_and_turns_in_another_way():
    method, batch = made(), seen(ENTRY, 8)
    first, quarters = method(**batch).item(), (4 * method.luck(batch["s"])).long()
    assert method(**batch).item() == first
    method.remember()
    assert (4 * method.luck(batch["s"])).long().tolist() != quarters.tolist()


def test_with_ctaugment_labelled_images_and_anchored_views_are_made_of_weak_ones(monkeypatch):
    """The guess is of a weak view that stays weak; probes are made of the labelled images as they came."""
    method, plain, batch = made(strong="ctaugment"), made(), seen(ENTRY, 8)
    assert set((method.labelled | method.unlabelled).values()) == {WEAK} and "".join(method.unlabelled) == "usr"
    strong = dict(zip("xsr", method.strengths(batch["x"], batch["s"], batch["r"]), strict=True))
    assert not any(torch.equal(strong[name], batch[name]) for name in "xsr") and not method.strengths.augment.cutout
    assert method(**batch) == plain(**batch | strong) != plain(**batch)
    taught = []
    monkeypatch.setattr(method.strengths, "learn", lambda *given: taught.append(given))
    method.remember()
    ((network, x, y),) = taught
    assert network is method.target.net and x is batch["x"] and y is batch["y"]


def test_with_ctaugment_one_anchored_view_is_enough():
    method = made(strong="ctaugment", anchored=1)
    assert "".join(method.unlabelled) == "us"
    steps(method, ENTRY, 1)
    assert (method.strengths.augment.rates < 1).any()

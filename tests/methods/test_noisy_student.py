"""The mechanism of Noisy Student: arXiv:1911.04252, Algorithm 1, and the reduction of the authors' code."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task

ENTRY = catalogue.find("noisy_student", "distill")
K = 10


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    x, u = torch.randn(4, 1, 8, 8, generator=draw), torch.randn(12, 1, 8, 8, generator=draw)
    y, teacher = torch.randint(K, (4,), generator=draw), 3 * torch.randn(12, K, generator=draw)
    return {"x": x, "y": y, "u": u, "teacher": teacher}


def log_softmax(z):
    z = z.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def oracle(method, batch, labels="soft", temperature=1.0, smoothing=0.1):
    """(sum over the labelled + sum over the pseudo-labelled) / number of labelled ones."""
    with torch.no_grad():
        logits = method.online(torch.cat([batch["x"], batch["u"]])).numpy()
    y, teacher, n = batch["y"].numpy(), batch["teacher"].numpy(), len(batch["x"])

    def smooth(hard):
        return (1 - smoothing) * np.eye(K)[hard] + smoothing / K

    q = np.concatenate([
        smooth(y),
        smooth(teacher.argmax(1)) if labels == "hard" else np.exp(log_softmax(teacher / temperature)),
    ])  # fmt: skip
    losses = -(q * log_softmax(logits)).sum(1)
    return losses[:n].sum() / n, losses[n:].sum() / n


@pytest.mark.parametrize(
    "knobs", [{}, {"smoothing": 0.0}, {"temperature": 0.5}, {"temperature": 4.0}, {"labels": "hard"}], ids=str
)
def test_the_loss_is_the_formula(batch, knobs):
    method = task.method(ENTRY, **knobs)
    on_labels, on_pseudo = oracle(method, batch, **knobs)
    assert method(**batch).item() == pytest.approx(on_labels + on_pseudo, rel=1e-5)
    assert on_pseudo > 0


def test_more_unlabelled_images_weigh_more(batch):
    """The ratio is a weight: each image counts once, divided by the number of labelled ones."""
    method = task.without_batch_statistics(task.method(ENTRY))
    twice = batch | {"u": batch["u"].repeat(2, 1, 1, 1), "teacher": batch["teacher"].repeat(2, 1)}
    on_labels, on_pseudo = oracle(method, batch)
    assert method(**twice).item() == pytest.approx(on_labels + 2 * on_pseudo, rel=1e-5)


def loss(batch, **knobs):
    return task.method(ENTRY, **knobs)(**batch).item()


def test_soft_labels_know_the_whole_distribution_and_hard_ones_the_best_class(batch):
    """Logits that keep their order but not their distances."""
    flatter = batch | {"teacher": batch["teacher"] / 3}
    assert loss(batch, labels="hard") == loss(flatter, labels="hard")
    assert abs(loss(batch) - loss(flatter)) > 0.01
    sure = batch | {"teacher": batch["teacher"] * 1000}
    assert loss(sure, smoothing=0.0) == pytest.approx(loss(sure, smoothing=0.0, labels="hard"), rel=1e-5)


def test_temperature_sharpens_the_targets_and_hard_ones_have_none(batch):
    assert loss(batch, temperature=0.5) == pytest.approx(loss(batch | {"teacher": batch["teacher"] * 2}), rel=1e-6)
    assert loss(batch, temperature=0.5) != loss(batch)
    assert loss(batch, labels="hard", temperature=0.5) == loss(batch, labels="hard")


def test_smoothing_is_for_hard_labels_alone(batch):
    """Of the labelled images always; of the pseudo-labelled ones where they are hard."""
    method = task.method(ENTRY)
    for labels in ("soft", "hard"):
        smooth, plain = (oracle(method, batch, labels, smoothing=s) for s in (0.1, 0.0))
        assert smooth[0] != plain[0] and (smooth[1] != plain[1]) == (labels == "hard")
        difference = loss(batch, labels=labels) - loss(batch, labels=labels, smoothing=0.0)
        assert difference == pytest.approx(sum(smooth) - sum(plain), abs=1e-5)


def test_both_kinds_of_images_pass_through_one_batch_norm(batch):
    """Statistics of the labelled and the unlabelled images together, as with one concatenated batch."""
    method = task.method(ENTRY)
    before = method.online.encoder.net.bn1.num_batches_tracked.item()
    method(**batch)
    assert method.online.encoder.net.bn1.num_batches_tracked.item() == before + 1


def test_the_average_is_what_is_learned_and_follows_as_the_formula_says(batch):
    """target <- m target + (1 - m) online with m = min(1 - 1 / (n + 1), ema): the first step copies."""
    method = task.method(ENTRY, ema=0.6)
    assert method.learned is method.target.net
    expected, name = None, "head.0.weight"
    for n in range(4):
        method(**batch).backward()
        with torch.no_grad():
            for parameter in method.online.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        method.remember()
        now = method.online.state_dict()[name]
        m = min(1 - 1 / (n + 1), 0.6)
        expected = now.clone() if expected is None else m * expected + (1 - m) * now
        torch.testing.assert_close(method.target.net.state_dict()[name], expected)
    assert not torch.allclose(expected, now), "the average has diverged from what it follows"

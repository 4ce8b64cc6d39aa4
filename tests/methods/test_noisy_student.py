"""The mechanism of Noisy Student: arXiv:1911.04252, Algorithm 1, and the reduction of the authors' code."""

import numpy as np
import pytest
import torch

from pipeline import catalogue, params
from pipeline.label.look import Look
from pipeline.label.sidecar import read_sidecar
from pipeline.nets.encoder import build_encoder
from pipeline.nets.model import load_model, save_model
from pipeline.views.view import View
from tests.contract import small_task as task
from tests.label.conftest import CLASSES, digests, label, make_shards

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


MEAN, STD = [0.45] * 3, [0.25] * 3


@pytest.fixture
def efficientnet():
    """A student of the paper's family, for images of 32 pixels, under all the noise that a network has."""
    torch.manual_seed(0)
    asked = params.Encoder(name="efficientnet_b0", args={"output_stride": 8}, drop=0.5, drop_path=0.2)
    encoder = build_encoder(asked, 3, 32, MEAN, STD)
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # as after many steps: at first, 50 layers in evaluation let nothing through
    encoder.train()(torch.randn(32, 3, 32, 32))
    for norm in norms:
        norm.momentum = 0.1
    return ENTRY.load()(encoder, classes=len(CLASSES), ema=0.9)


@pytest.mark.slow
def test_an_efficientnet_learns_under_noise_and_labels_without(tmp_path, efficientnet):
    """One step, and through the disk: the weights that were learned are those that teach the next round."""
    draw, shards = torch.Generator().manual_seed(1), make_shards(tmp_path / "unlabelled", n=5, size=32)
    x, u = torch.randn(4, 3, 32, 32, generator=draw), torch.randn(8, 3, 32, 32, generator=draw)
    y, teacher = torch.tensor([0, 1, 2, 3]), torch.randn(8, len(CLASSES), generator=draw)
    before = {name: tensor.clone() for name, tensor in efficientnet.learned.named_parameters()}
    efficientnet(x=x, y=y, u=u, teacher=teacher).backward()
    torch.optim.SGD(efficientnet.online.parameters(), 1e-3).step()
    efficientnet.remember()
    assert all(not torch.equal(before[name], now) for name, now in efficientnet.learned.named_parameters())

    about = {"kind": "classifier", "classes": CLASSES, "mean": MEAN, "std": STD}
    save_model(tmp_path / "student-1", efficientnet.learned, about)
    again = load_model(tmp_path / "student-1")
    assert {"name": "efficientnet_b0", "drop": 0.5, "drop_path": 0.2}.items() <= again.about["encoder"].items()
    for out in ("once", "twice"):
        paths = label(
            shards, tmp_path / out, again.branch.train(), look=Look([View("plain", 32, MEAN, STD)], False, 0), batch=5
        )
    assert digests(tmp_path / "once") == digests(tmp_path / "twice")
    with torch.no_grad():
        images = (shards.images(range(5)).float() / 255 - 0.45) / 0.25
        expected = efficientnet.learned.eval()(images).log_softmax(1)
    assert expected.std(0).min() > 0.02
    found = read_sidecar(paths[0]).logits(slice(None)).log_softmax(1)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("switch, noisy", [("drop", True), ("drop_path", True), ("none", False)])
def test_each_noise_of_an_efficientnet_has_a_switch(efficientnet, switch, noisy):
    """What is left of two passes of one image in training, where only that noise is on."""
    encoder = efficientnet.online.encoder
    for module in encoder.modules():
        path = type(module).__name__ == "DropPath"
        module.training = path if switch == "drop_path" else module is encoder.drop and switch == "drop"
    x = torch.randn(1, 3, 32, 32).expand(16, -1, -1, -1)
    with torch.no_grad():
        assert (encoder(x).std(0).max() > 1e-3) == noisy

"""Label propagation: who is told what, when it spreads, and what it weighs."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.nets.propagation import propagate
from tests.contract import small_task as task
from tests.methods import seeing

ENTRY = catalogue.find("label_propagation", "semi")


def remembering(n):
    """A method that sees logits and remembers random labels of random weight."""
    method, draw = seeing.logits(task.method(ENTRY)), torch.Generator().manual_seed(n)
    method.propagated.labels.copy_(torch.randint(10, (1797,), generator=draw))
    method.propagated.certain.copy_(torch.rand(1797, generator=draw))
    method.propagated.rare.copy_(0.5 + torch.rand(10, generator=draw))
    return method


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_counts_each_image_once_by_certainty_and_class(n):
    """Over the number of all images, as in the authors' code."""
    method, batch = remembering(n), seeing.batch(n)
    method.t = 0.5
    del batch["s"]
    index, spread = torch.randperm(1797)[: 2 * n], method.propagated
    labels = spread.labels[index].numpy()
    weights = spread.certain[index].double().numpy() * spread.rare.double().numpy()[labels]
    y = batch["y"].numpy()
    expected = (spread.rare.double().numpy()[y] * seeing.cross_entropy(batch["x"], y)).sum()
    expected += (weights * seeing.cross_entropy(batch["u"], labels)).sum()
    assert method(**batch, index=index).item() == pytest.approx(expected / (n + len(index)), rel=1e-5)


def test_at_first_the_labels_stand_alone():
    method, batches = task.method(ENTRY), task.batches(ENTRY)
    method.t = 0.039
    method.before_epoch(lambda network: task.see(batches, network))
    assert not method.propagated.certain.any()
    batch = batches.at(0)
    with torch.no_grad():
        together = method.online(torch.cat([batch["x"], batch["u"]]))[: len(batch["x"])]
    expected = seeing.cross_entropy(together, batch["y"].numpy()).mean()
    assert method(**batch).item() == pytest.approx(expected, rel=1e-5)


def test_then_they_spread_over_the_features_of_the_network_as_it_is_used():
    method, batches, looked = task.method(ENTRY), task.batches(ENTRY), []
    method.t = 0.04
    method.before_epoch(lambda network: looked.append(network) or task.see(batches, network))
    assert looked == [method.online.encoder]
    known = task.known(task.digits()[1])
    labels, certain = propagate(task.see(batches, method.online.encoder), known, 10)
    assert torch.equal(method.propagated.labels, labels) and torch.equal(method.propagated.certain, certain)
    truth = task.digits()[1]
    assert (labels == truth)[200:].float().mean() > 0.3, "even from random features"
    assert torch.equal(labels[:200], truth[:200]) and (certain[:200] == 1).all()
    sure = certain[200:] > certain[200:].median()
    assert (labels == truth)[200:][sure].float().mean() > (labels == truth)[200:][~sure].float().mean()


def test_the_knobs_reach_the_graph():
    knobs = {"k": 99, "gamma": 1.0, "alpha": 0.9, "clip": False, "iterations": 2}
    features, known = torch.randn(100, 4), torch.full((100,), -1)
    known[:10] = torch.arange(10)
    method = ENTRY.load()(task.encoder(), classes=10, known=known, **knobs)
    method.propagated.spread(features)
    assert torch.equal(method.propagated.certain, propagate(features, known, 10, **knobs)[1])
    for knob, default in {"k": 50, "gamma": 3.0, "alpha": 0.99, "clip": True, "iterations": 1000}.items():
        other = propagate(features, known, 10, **knobs | {knob: default})[1]
        assert not torch.equal(method.propagated.certain, other), knob


def test_it_knows_the_labels_of_labelled_images_alone():
    """Other labels of the rest change nothing."""
    _, truth = task.digits()
    other = torch.cat([truth[:200], (truth[200:] + 1) % 10])
    state = [task.method(ENTRY, said=labels).propagated for labels in (truth, other)]
    assert torch.equal(state[0].known, state[1].known)
    assert np.array_equal(np.flatnonzero(state[0].known >= 0), np.arange(200))


@pytest.mark.slow
def test_each_epoch_begins_with_another_graph(tmp_path):
    method, batches, seen = task.method(ENTRY, ema=0.5), task.batches(ENTRY, batch=200, ratio=2), []
    spread = method.propagated.spread
    method.propagated.spread = lambda features: seen.append(features.clone()) or spread(features)
    task.train(method, batches, tmp_path, 12)  # epochs at 0, 5 and 9, of which the first stands alone
    assert len(seen) == 2 and not torch.equal(*seen)
    assert method.propagated.certain.any()

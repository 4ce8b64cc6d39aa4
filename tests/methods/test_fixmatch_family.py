"""What FlexMatch, FreeMatch, SoftMatch and BOSS have from FixMatch."""

import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.methods import seeing

NAMES = ("boss", "flexmatch", "freematch", "softmatch")
each = pytest.mark.parametrize("entry", [catalogue.find(name, "semi") for name in NAMES], ids=NAMES)


def batch(entry):
    """Images of which each view has a mean of its own."""
    draw = torch.Generator().manual_seed(0)
    sizes = {"x": (4, 0.0), "u": (8, 1.0), "s": (8, -3.0)}
    views = {name: mean + torch.randn(n, 1, 8, 8, generator=draw) for name, (n, mean) in sizes.items()}
    return views | {"y": torch.arange(4)} | ({"index": torch.arange(8)} if "index" in entry.load().asks() else {})


@each
@pytest.mark.parametrize("update, by", [("all", "xus"), ("labelled", "x"), ("last", "s")])
def test_one_pass_moves_the_statistics_of_batch_norm(entry, update, by):
    """By default that of all images together."""
    method, seen = task.method(entry, **{} if update == "all" else {"bn_update": update}), batch(entry)
    method(**seen)
    norm, expected = method.online.encoder.net.bn1, task.method(entry).online
    expected(torch.cat([seen[name] for name in by]))
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, expected.encoder.net.bn1.running_mean)


@each
def test_labels_come_from_the_weak_view_and_gradients_from_the_strong_one(entry):
    """Whoever takes one for the other teaches the network nothing, or to be sure of anything."""
    method, seen = task.without_batch_statistics(task.method(entry)), batch(entry)
    with torch.no_grad():
        method.online.head[0].weight.mul_(20)  # confident of all
    if entry.name == "freematch":
        method.fairness = 0.0
    gradients = {name: seen[name].requires_grad_() for name in ("x", "u", "s")}
    loss = method(**seen)
    loss.backward()
    assert not gradients["u"].grad.any() and gradients["x"].grad.any() and gradients["s"].grad.any()


@pytest.mark.parametrize("name", [*NAMES, "fixmatch", "uda"])
def test_confidence_is_of_fp32_where_the_network_computes_in_half_precision(name):
    entry = catalogue.find(name, "semi")
    method = seeing.logits(task.method(entry))
    method.tau = torch.tensor(0.753)
    if name == "boss":
        method.balance = 0
    elif name == "flexmatch":
        method.last.copy_(torch.arange(1797) % 10)  # all alike: every threshold is tau
    elif name == "freematch":
        method.m = 1.0
    elif name == "softmatch":
        method.m = 1.0
        method.confidence.copy_(torch.tensor([0.753, 1e-6]))
    u = seeing.guesses(torch.linspace(0.74, 0.77, 200).tolist(), [3] * 200).bfloat16()
    views = {"x": torch.zeros(4, 10).bfloat16(), "y": torch.arange(4), "u": u, "s": u}
    if "index" in entry.load().asks():
        views["index"] = torch.arange(200)
    method(**views)
    kept = method.notes["kept"]
    method(**views | {name: views[name].float() for name in "xus"})
    assert kept == method.notes["kept"] and 0.3 < kept < 0.7
    coarse = u.softmax(1).float().amax(1)
    assert (coarse >= 0.753).float().mean() != (u.float().softmax(1).amax(1) >= 0.753).float().mean()

"""SwAV: codes of the large crops, predicted from all other crops."""

from math import log

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.losses import unit
from tests.contract import small_task as task
from tests.test_losses import SIZES

ENTRY = catalogue.find("swav", "pretext")
LARGE, SMALL = "ab", "cdefgh"


def crops(n):
    draw = torch.Generator().manual_seed(0)
    sides = dict.fromkeys(LARGE, 8) | dict.fromkeys(SMALL, 4)
    return {name: torch.randn(n, 1, side, side, generator=draw) for name, side in sides.items()}


def parts(method, batch):
    """Unit features of all crops, those of one size in one forward, and the unit prototypes, in float64."""
    large, small = (method.online(torch.cat([batch[name] for name in names])) for names in (LARGE, SMALL))
    z = [*unit(large).chunk(2), *unit(small).chunk(6)]
    return [rows.detach().double().numpy() for rows in z], method.prototypes.weight.detach().double().numpy()


def oracle_codes(scores, epsilon=0.05):
    """arXiv:2006.09882, Algorithm 1: three times, prototypes to 1 / K and samples to 1 / B."""
    q = np.exp(scores / epsilon)
    for _ in range(3):
        q = q / q.sum(0)
        q = q / q.sum(1, keepdims=True)
    return q


def oracle(z, prototypes, tau, queues=None):
    """The mean over the two codes and the seven other crops of each."""
    losses = []
    for s in range(2):
        rows = z[s] if queues is None else np.concatenate([z[s], queues[s]])
        q = oracle_codes(rows @ prototypes.T)[: len(z[s])]
        for v in set(range(8)) - {s}:
            logits = z[v] @ prototypes.T / tau
            log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            losses.append(-(q * log_p).sum(1).mean())
    return np.mean(losses)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_the_loss_is_the_formula(n, tau):
    method, batch = task.method(ENTRY, tau=tau, delay=1.0), crops(n)
    assert method(**batch).item() == pytest.approx(oracle(*parts(method, batch), tau), rel=1e-4)


@pytest.mark.parametrize("t, used", [(0.3, False), (0.4, True), (0.9, True)])
def test_the_queue_joins_the_codes_after_its_delay(t, used):
    method, batch = task.method(ENTRY, delay=0.4), crops(5)
    method.t, queues = t, [queue.keys.double().numpy() for queue in (method.queue_a, method.queue_b)]
    expected = oracle(*parts(method, batch), 0.1, queues if used else None)
    other = oracle(*parts(method, batch), 0.1, None if used else queues)
    assert method(**batch).item() == pytest.approx(expected, rel=1e-4) and abs(expected - other) > 0.01


def test_codes_come_from_the_large_crops_alone():
    method, seen = task.method(ENTRY, delay=1.0), []
    codes = method.codes
    method.codes = lambda z, queue: seen.append(z) or codes(z, queue)
    method(**crops(5))
    large = unit(method.online(torch.cat([crops(5)[name] for name in LARGE])))
    torch.testing.assert_close(torch.cat(seen), large)


def test_no_gradient_flows_through_the_codes():
    method = task.method(ENTRY)
    z = unit(torch.randn(5, 16)).requires_grad_()
    assert not method.codes(z, method.queue_a.keys).requires_grad


def test_each_large_crop_is_queued_after_the_step_of_all_its_features():
    method, batch = task.method(ENTRY, queue=12), crops(5)
    before = method.queue_a.keys.clone()
    method(**batch)
    assert torch.equal(method.queue_a.keys, before)
    method.remember()
    z_a, z_b = unit(method.online(torch.cat([batch[name] for name in LARGE]))).chunk(2)
    torch.testing.assert_close(method.queue_a.keys[:5], z_a.detach())
    torch.testing.assert_close(method.queue_b.keys[:5], z_b.detach())
    assert torch.equal(method.queue_a.keys[5:], before[5:])


def test_prototypes_have_length_one_after_every_step():
    method = task.method(ENTRY)
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    method(**crops(5))
    method.remember()
    torch.testing.assert_close(method.prototypes.weight.detach().norm(dim=1), torch.ones(30))
    assert [name for name, _ in method.prototypes.named_parameters()] == ["weight"]  # no bias


@pytest.mark.parametrize("t, moves", [(0.1, False), (0.2, True)])
def test_prototypes_stand_still_at_first(t, moves):
    method = task.method(ENTRY, frozen=0.2)
    method.t = t
    method(**crops(5)).backward()
    assert method.prototypes.weight.grad.any() == moves
    assert method.online.head[0].weight.grad.any()


@pytest.mark.parametrize("prototypes", [16, 30])
def test_one_output_for_all_images_costs_ln_k_at_least(prototypes):
    """Codes are then uniform: ln K where the output is as near to each prototype, more elsewhere."""
    method = task.method(ENTRY, prototypes=prototypes, delay=1.0)
    method.online.head.append(torch.nn.Threshold(1e9, 1.0))  # whatever comes in
    assert method.chance == log(prototypes)
    assert method(**crops(5)).item() > method.chance + 0.01
    with torch.no_grad():
        method.prototypes.weight.sub_(method.prototypes.weight.mean(1, keepdim=True))  # all orthogonal to the output
    assert method(**crops(5)).item() == pytest.approx(method.chance)


def test_the_loss_of_a_batch_seen_four_times_is_that_of_the_batch():
    method = task.method(ENTRY, delay=1.0).eval()
    tiled = {name: crop.repeat(4, 1, 1, 1) for name, crop in crops(5).items()}
    assert method(**tiled).item() == pytest.approx(method(**crops(5)).item(), rel=1e-5)


def test_the_defaults_are_the_papers():
    found = {name: default for name, (_, default) in ENTRY.knobs.items()}
    assert found["prototypes"] == 3000 and found["tau"] == 0.1 and found["epsilon"] == 0.05 and found["queue"] == 3840
    assert [ENTRY.unlabelled[name] for name in SMALL] == [ENTRY.unlabelled["c"]] * 6

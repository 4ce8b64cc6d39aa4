"""BOSS: thresholds and weights that keep the classes balanced."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.gloo import both
from tests.methods import seeing

ENTRY = catalogue.find("boss", "semi")
BALANCES = (0, 1, 2, 3, 4)


def made(**knobs):
    return seeing.logits(task.method(ENTRY, **knobs))


def oracle_weights(p, balance, tau, delta, k=10):
    """arXiv:2006.09363, image by image."""
    sure, guess = p.max(1), p.argmax(1)
    before = [int((guess == c).sum()) for c in range(k)]
    thresholds = [tau - delta * (1 - n / max(before)) if balance in (1, 4) else tau for n in before]
    kept = [bool(s >= thresholds[c]) for s, c in zip(sure, guess, strict=True)]
    after = [sum(1 for one, c in zip(kept, guess, strict=True) if one and c == cls) for cls in range(k)]
    counts = {2: before, 3: after, 4: after}.get(balance)
    if counts is None or not any(kept):
        return np.array(kept, np.float64)
    raw = np.array([1 / counts[c] if one else 0.0 for one, c in zip(kept, guess, strict=True)])
    return raw * sum(kept) / raw.sum()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("balance", BALANCES)
def test_the_loss_is_the_weighted_mean_over_all_unlabelled_images(n, balance):
    method, batch = made(balance=balance, tau=0.8, weight=0.7), seeing.batch(n)
    p = seeing.softmax(batch["u"])
    weights = oracle_weights(p, balance, 0.8, 0.25)
    assert n < 17 or 0 < (weights > 0).mean() < 1
    expected = seeing.cross_entropy(batch["x"], batch["y"].numpy()).mean()
    expected += 0.7 * (weights * seeing.cross_entropy(batch["s"], p.argmax(1))).sum() / (2 * n)
    assert method(**batch).item() == pytest.approx(expected, rel=1e-5)


def test_by_hand():
    """Class 0 is guessed 4 times, class 1 twice: its threshold is lower by half of delta."""
    sure, guess = torch.tensor([0.96, 0.99, 0.9, 0.5, 0.83, 0.7]), torch.tensor([0, 0, 0, 0, 1, 1])
    weights = {balance: made(balance=balance).weights(sure, guess).tolist() for balance in BALANCES}
    assert weights[0] == [1, 1, 0, 0, 0, 0]
    assert weights[1] == [1, 1, 0, 0, 1, 0]
    assert weights[2] == [1, 1, 0, 0, 0, 0]
    assert weights[3] == [1, 1, 0, 0, 0, 0]
    assert weights[4] == pytest.approx([0.75, 0.75, 0, 0, 1.5, 0])
    two = made(balance=2, tau=0.8).weights(sure, guess).tolist()  # 1/4, 1/4, 1/4 and 1/2, to the sum 4
    assert two == pytest.approx([0.8, 0.8, 0.8, 0, 1.6, 0])
    three = made(balance=3, tau=0.8).weights(sure, guess).tolist()  # 1/3 three times and 1, to the sum 4
    assert three == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0, 2, 0])


@pytest.mark.parametrize("balance", BALANCES)
def test_the_weights_add_up_to_the_number_kept(balance):
    p = seeing.batch(40)["u"].softmax(1)
    weights = made(balance=balance, tau=0.7).weights(*p.max(1))
    assert weights.sum().item() == pytest.approx((weights > 0).sum().item(), rel=1e-5)
    if balance in (3, 4):
        shares = torch.zeros(10).index_add(0, p.argmax(1), weights)
        torch.testing.assert_close(shares[shares > 0], shares[shares > 0].mean().expand((shares > 0).sum()))


@pytest.mark.parametrize("balance", BALANCES)
def test_confidence_at_the_threshold_is_enough_and_none_at_all_is_no_error(balance):
    tau = torch.tensor(0.75)
    method = made(balance=balance, tau=0.75)
    assert method.weights(tau[None], torch.tensor([1])).tolist() == [1]
    assert method.weights(tau[None] - 1e-6, torch.tensor([1])).tolist() == [0]


def halves(rank, balance):
    p = seeing.batch(8)["u"].softmax(1)[8 * rank :][:8]
    torch.manual_seed(0)
    return made(balance=balance, tau=0.6).weights(*p.max(1)).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("balance", (1, 2, 4))
def test_counts_are_of_the_batches_of_all_processes(balance):
    p = seeing.batch(8)["u"].softmax(1)
    first, second = both(halves, balance)
    assert first + second == pytest.approx(made(balance=balance, tau=0.6).weights(*p.max(1)).tolist())

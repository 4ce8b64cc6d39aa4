"""The quota rule against a plain transcription of what the paper's filter does, image by image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.label.select import select
from pipeline.params import Select
from pipeline.seed import fraction


def keys_of(n):
    return [f"img-{i}" for i in range(n)]


def draw(n, classes, seed, edges=False):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(3, 1.5, n).astype(np.float32)
    if edges:
        confidence = (np.round(confidence * 20) / 20).astype(np.float32)  # on the edges of bins, many of them equal
    skew = rng.dirichlet(np.ones(classes) * 0.7)
    return torch.from_numpy(confidence), torch.from_numpy(rng.choice(classes, n, p=skew))


def oracle(confidence, guess, keys, floor, quota, seed, classes):
    """Bins from 1.00 downwards; stop at the first whose running count reaches the quota, at the latest at the floor."""
    weights, thresholds = {}, []
    for c in range(classes):
        images = [(np.float32(p), key) for p, g, key in zip(confidence, guess, keys, strict=True) if g == c]
        chosen = floor
        for percent in range(100, -1, -1):
            edge = percent / 100
            if edge < floor:
                break
            if sum(p >= np.float32(edge) for p, _ in images) >= quota:
                chosen = edge
                break
        thresholds.append(chosen)
        accepted = [key for p, key in images if p >= np.float32(chosen)]
        for key in accepted:
            copies = quota / len(accepted)
            weight = int(copies) + int(fraction(seed, "select", key) < copies - int(copies))
            if weight:
                weights[key] = weight
    return weights, thresholds


def as_dict(selection, keys):
    return {keys[row]: weight for row, weight in zip(selection.rows.tolist(), selection.weights.tolist(), strict=True)}


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(0, 150),
    classes=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    quota=st.integers(1, 60),
    floor=st.sampled_from([0.0, 0.3, 0.305, 0.5, 0.95, 1.0]),
    edges=st.booleans(),
)
def test_as_the_paper_filters(n, classes, seed, quota, floor, edges):
    confidence, guess = draw(n, classes, seed, edges)
    selection = select(confidence, guess, keys_of(n), Select(threshold=floor, quota=quota), seed, classes)
    weights, thresholds = oracle(confidence.numpy(), guess.numpy(), keys_of(n), floor, quota, seed, classes)
    assert as_dict(selection, keys_of(n)) == weights
    assert selection.thresholds == thresholds and selection.floor == floor
    assert selection.rows.dtype == selection.weights.dtype == torch.int64


def test_without_a_quota_the_floor_alone_decides():
    confidence = torch.tensor([0.2, 0.95, 0.949999, 1.0])  # fp32 0.95 lies below 0.95: compared in fp32, it is in
    selection = select(confidence, torch.tensor([0, 1, 1, 0]), keys_of(4), Select(threshold=0.95), 0, 2)
    assert selection.rows.tolist() == [1, 3] and selection.weights.tolist() == [1, 1]
    assert selection.thresholds == [0.95, 0.95]


@pytest.mark.parametrize("have, quota, weight", [(10, 30, 3), (10, 10, 1), (1, 7, 7)])
def test_whole_copies_need_no_coin(have, quota, weight):
    selection = select(torch.full((have,), 0.5), torch.zeros(have).long(), keys_of(have), Select(quota=quota), 0, 1)
    assert selection.weights.tolist() == [weight] * have


@pytest.mark.parametrize("have, quota", [(4000, 1500), (2000, 5000)])
def test_the_total_weight_of_a_class_is_its_quota(have, quota):
    """All in one bin, so that the coin alone balances: n Bernoulli draws, 4 standard deviations."""
    part = quota / have % 1
    for seed in range(5):
        given = torch.full((have,), 0.555), torch.zeros(have).long(), keys_of(have)
        total = int(select(*given, Select(quota=quota), seed, 1).weights.sum())
        assert abs(total - quota) <= 4 * (have * part * (1 - part)) ** 0.5


def test_over_full_classes_are_thinned_among_the_surest():
    confidence = torch.linspace(0.3, 1, 701)
    selection = select(confidence, torch.zeros(701).long(), keys_of(701), Select(quota=95), 0, 1)
    assert selection.thresholds == [0.9]
    assert 85 <= len(selection.rows) <= 101 and set(selection.weights.tolist()) == {1}
    assert (confidence[selection.rows] >= torch.tensor(0.9)).all()


def test_a_method_without_a_teacher_takes_each_image_once():
    guess = torch.tensor([0, 1, 0, 1, 1])
    selection = select(torch.tensor([0.9, 0.5, 0.2, 0.7, 0.6]), guess, keys_of(5), Select(threshold=0.6, quota=8), 0, 2)
    assert selection.weights.tolist() == [8, 4, 4]
    once = selection.once()
    assert once.rows.tolist() == [0, 3, 4] and once.weights.tolist() == [1, 1, 1]
    assert once.pseudo(guess).tolist() == [0, -1, -1, 1, 1] and guess.tolist() == [0, 1, 0, 1, 1]


def test_a_class_nobody_guessed_has_nothing():
    selection = select(torch.ones(3), torch.zeros(3).long(), keys_of(3), Select(threshold=0.4, quota=3), 0, 2)
    assert selection.thresholds == [1.0, 0.4] and selection.rows.tolist() == [0, 1, 2]


def test_the_order_of_rows_does_not_matter():
    confidence, guess = draw(400, 5, 1)
    keys, params = keys_of(400), Select(threshold=0.3, quota=50)
    expected = as_dict(select(confidence, guess, keys, params, 7, 5), keys)
    for seed in range(3):
        order = torch.randperm(400, generator=torch.Generator().manual_seed(seed))
        shuffled = [keys[i] for i in order]
        assert as_dict(select(confidence[order], guess[order], shuffled, params, 7, 5), shuffled) == expected


def test_the_seed_flips_the_coins_alone():
    confidence, guess = draw(400, 3, 2)
    one, two = (select(confidence, guess, keys_of(400), Select(quota=50), seed, 3) for seed in (0, 1))
    assert one.thresholds == two.thresholds
    assert as_dict(one, keys_of(400)) != as_dict(two, keys_of(400))

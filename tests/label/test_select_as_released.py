"""The quota rule against the procedure that the authors of Noisy Student released (arXiv:1911.04252), in our own words.

It has two passes. In the first each shard counts, for each class, its images between one edge of 0.00, 0.01, ..., 1.00
and the next; the counts of all shards are added up, from 1.00 downwards, until they reach the quota or the floor: there
is the threshold of the class. In the second each shard writes the images from the threshold upwards, every one quota /
(images of its class from the threshold upwards) times, a fraction by the toss of a coin.

Ours differs on purpose. An image that is written w times there has the integer weight w here. The coin is a hash of the
seed and the key here, and a generator without a seed there. Probabilities are compared in fp32 here and in float64
there, so that those below are multiples of 1/128, the same in both. A floor that is no edge is taken here; there a
class with fewer images than the quota then stops the program.
"""

from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.label.select import select
from pipeline.params import Select

EDGES = [i / 100 for i in range(101)]
CLASSES = 5


def drawn(seed, n=90):
    """Shards of (key, class, probability), the classes not equally often, and some probabilities on an edge."""
    rng = np.random.default_rng(seed)
    often = rng.dirichlet(np.ones(CLASSES) * 2)
    images = [(f"i{i}", rng.choice(CLASSES, p=often), round(128 * rng.beta(2.5, 1.2)) / 128) for i in range(n)]
    return [images[:20], images[20:25], images[25:]]


def counted(shard):
    counts = np.zeros((CLASSES, len(EDGES)), int)
    for _, c, p in shard:
        counts[c, np.searchsorted(EDGES, p, side="right") - 1] += 1
    return counts


def thresholds(counts, quota, floor):
    """(threshold, images from it upwards) of each class."""
    found = []
    for of_class in counts:
        total, chosen = 0, None
        for edge, count in zip(reversed(EDGES), reversed(of_class), strict=True):
            if edge < floor:
                break
            total += count
            if total >= quota or edge == floor:
                chosen = edge
                break
        assert chosen is not None
        found.append((chosen, total))
    return found


def written(shard, found, quota, toss):
    """The keys of the second pass, as often as they are written; `toss` gives numbers from 0 to 1."""
    keys = []
    for key, c, p in shard:
        threshold, total = found[c]
        if p >= threshold:
            copies = quota / total
            keys += [key] * (int(copies) + (toss() < copies % 1))
    return keys


def released(shards, quota, floor, toss):
    found = thresholds(sum(map(counted, shards)), quota, floor)
    copies = Counter(key for shard in shards for key in written(shard, found, quota, toss))
    return [threshold for threshold, _ in found], copies


def ours(shards, quota, floor, seed=0):
    keys, classes, probabilities = zip(*(image for shard in shards for image in shard), strict=True)
    given = torch.tensor(probabilities, dtype=torch.float32), torch.tensor(classes), keys
    selection = select(*given, Select(threshold=floor, quota=quota), seed, CLASSES)
    weights = zip(selection.rows.tolist(), selection.weights.tolist(), strict=True)
    return selection.thresholds, Counter({keys[row]: weight for row, weight in weights})


@pytest.mark.parametrize("quota", [1, 4, 12, 40])
@pytest.mark.parametrize("floor", [0.0, 0.3, 0.75, 1.0])
def test_the_same_thresholds_and_but_for_the_coin_the_same_copies(floor, quota):
    for seed in range(6):
        shards = drawn(seed)
        (theirs, least), (_, most) = (released(shards, quota, floor, toss) for toss in (lambda: 1.0, lambda: 0.0))
        mine, weights = ours(shards, quota, floor)
        assert mine == theirs
        assert all(least[key] <= weights[key] <= most[key] for key in {*weights, *most})


@pytest.mark.parametrize("quota", [7, 25])
def test_the_coin_falls_as_often_and_each_for_itself(quota):
    """Over 300 seeds: the mean of each image's copies, and the spread of a class's total, which is binomial."""
    shards, n = drawn(3), 300
    both = [
        [ours(shards, quota, 0.3, seed)[1] for seed in range(n)],
        [released(shards, quota, 0.3, np.random.default_rng(seed).random)[1] for seed in range(n)],
    ]
    chosen, _ = ours(shards, quota, 0.3)
    images, coins = [image for shard in shards for image in shard], 0
    for c in range(CLASSES):
        keys = [key for key, other, p in images if other == c and p >= chosen[c]]
        part = quota / max(len(keys), 1) % 1
        coins += part > 0
        for runs in both if part else ():
            copies = np.array([[counts[key] for key in keys] for counts in runs])
            assert np.abs(copies.mean(0) - quota / len(keys)).max() < 4.5 * (part * (1 - part) / n) ** 0.5
            assert copies.sum(1).var() == pytest.approx(len(keys) * part * (1 - part), rel=0.4)  # 4.9 sigma
    assert coins > 1


def test_a_floor_between_two_edges():
    shards = drawn(0)
    with pytest.raises(AssertionError):
        released(shards, 1000, 0.305, lambda: 0.0)
    assert ours(shards, 1000, 0.305)[0] == [0.305] * CLASSES

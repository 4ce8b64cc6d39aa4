"""The bootstrap by counts against the binomial law, and against images that are really drawn again."""

import numpy as np
import pytest
import torch

from pipeline.score import bootstrap as module
from pipeline.score.accuracy import confusion
from pipeline.score.bootstrap import bootstrap


def sample(n, classes=4, skill=0.7):
    """Classes of very different sizes, the rare ones harder."""
    chance = torch.Generator().manual_seed(n)
    labels = (torch.rand(n, generator=chance).square() * classes).long()
    kept = torch.rand(n, generator=chance) < skill - 0.1 * labels
    return torch.where(kept, labels, (labels + 1) % classes), labels


def test_top1_is_as_the_binomial_has_it():
    from scipy.stats import binom

    guess, labels = sample(400)
    share, counts = (guess == labels).double().mean().item(), confusion(guess, labels, 4)
    low, high = np.mean([bootstrap(counts, seed)["top1"] for seed in range(20)], axis=0)  # each end has luck of its own
    wide = (binom.ppf(0.975, 400, share) - binom.ppf(0.025, 400, share)) / 400
    assert low == pytest.approx(binom.ppf(0.025, 400, share) / 400, abs=0.03 * wide)
    assert high == pytest.approx(binom.ppf(0.975, 400, share) / 400, abs=0.03 * wide)


def test_mean_class_accuracy_is_that_of_images_drawn_again():
    guess, labels = (t.numpy() for t in sample(120))
    draw, found = np.random.default_rng(1), []
    for _ in range(4000):
        rows = draw.integers(0, 120, 120)
        g, y = guess[rows], labels[rows]
        found.append(np.mean([(g[y == c] == c).mean() for c in np.unique(y)]))
    low, high = np.quantile(found, [0.025, 0.975])
    assert high - low > 0.15
    ours = bootstrap(confusion(torch.from_numpy(guess), torch.from_numpy(labels), 4), 0)["mean_class_accuracy"]
    assert ours == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_class_that_a_resample_lacks_is_left_out_of_its_mean():
    """One image of class 1, right: a third of the resamples lack it, and half of class 0 is right."""
    counts = torch.tensor([[10, 10], [0, 1]])
    low, high = bootstrap(counts, 0)["mean_class_accuracy"]
    assert low == pytest.approx(0.33, abs=0.06), "a lacking class counted as wrong would give 0.2"
    assert 0.8 < high < 0.9


def test_it_is_drawn_from_the_seed_and_from_nothing_else():
    counts = confusion(*sample(300), 4)
    torch.manual_seed(0), np.random.seed(0)
    one = bootstrap(counts, 0)
    torch.manual_seed(1), np.random.seed(1)
    assert bootstrap(counts, 0) == one != bootstrap(counts, 1)


def test_a_hundredfold_of_images_makes_it_ten_times_as_narrow():
    counts = confusion(*sample(300), 4)
    wide, narrow = ({name: high - low for name, (low, high) in bootstrap(c, 0).items()} for c in (counts, 100 * counts))
    for name in wide:
        assert wide[name] / narrow[name] == pytest.approx(10, rel=0.15)


def test_block_size_does_not_matter(monkeypatch):
    counts = confusion(*sample(300), 4)
    whole = bootstrap(counts, 0)
    monkeypatch.setattr(module, "CELLS", 64)
    assert bootstrap(counts, 0) == whole


def test_fewer_than_two_images_have_none():
    assert bootstrap(torch.tensor([[1, 0], [0, 0]]), 0) == {"top1": (None, None), "mean_class_accuracy": (None, None)}
    assert bootstrap(torch.tensor([[2, 0], [0, 0]]), 0)["top1"] == (1, 1)

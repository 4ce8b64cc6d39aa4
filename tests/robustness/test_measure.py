"""Errors are counted over the images, each changed in each way, whatever the batch."""

import pytest
import torch
from torch import nn

from pipeline.data.images import Images
from pipeline.robustness.corruptions import corrupt
from pipeline.robustness.measure import Classifier, Sample, attack_errors, corruption_errors, flip_rates
from pipeline.robustness.severities import CORRUPTIONS, SEVERITIES
from pipeline.views.plain import Plain

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
N = 30


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    network[1].running_mean.normal_()
    return Classifier(network.train(), Plain(8, MEAN, STD))


@pytest.fixture
def sample(classifier, smooth, draws):
    """Half of 60 images, labelled by what the network says of them: none is wrong as it is."""
    images, rows = smooth(2 * N, 3, 8), torch.arange(1, 2 * N, 2)
    classifier.network.eval()
    labels = classifier(images).argmax(1)
    classifier.network.train()
    labels[1] = (labels[1] + 1) % 4  # but one
    return Sample(Images(images), rows, labels[rows], draws(2 * N)[1::2])


def test_corruption_errors_are_those_of_each_condition_alone(classifier, sample):
    clean, errors = corruption_errors(classifier, sample, CORRUPTIONS, SEVERITIES, 7)
    assert clean == pytest.approx(1 / N)
    assert list(errors) == list(CORRUPTIONS) and all(list(of) == list(SEVERITIES) for of in errors.values())
    assert classifier.network.training
    classifier.network.eval()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    for name in ("fog", "contrast"):
        made = corrupt(sample.images.pixels[1::2], name, 5, sample.draws)
        guesses = classifier.network((made.float() / 255 - mean) / std).argmax(1)
        assert errors[name][5] == pytest.approx((guesses != sample.labels).double().mean().item())
    assert errors["fog"][5] > clean


def test_the_size_of_the_batch_changes_nothing(classifier, sample):
    def measured(batch):
        corrupted = corruption_errors(classifier, sample, ["glass_blur", "frost", "elastic_transform"], [3], batch)
        flipped = flip_rates(classifier, sample, ["translate", "shot_noise"], batch)
        return corrupted, flipped, attack_errors(classifier, sample, [4], 2, batch)

    assert measured(N) == measured(11)


def test_attacks_are_worse_than_none_and_pgd_is_at_least_as_bad(classifier, sample):
    rows = attack_errors(classifier, sample, [0.001, 2, 8], 10, 16)
    assert [row["epsilon"] for row in rows] == [0.001, 2, 8]
    assert rows[0]["fgsm"] == rows[0]["pgd"] == pytest.approx(1 / N)
    assert rows[2]["pgd"] >= rows[2]["fgsm"] > rows[1]["fgsm"] > 2 / N


def test_a_network_that_always_says_the_same_never_flips(classifier, sample):
    classifier.network[-1].weight.data.zero_()
    assert flip_rates(classifier, sample, ["tilt", "gaussian_noise"], 8) == {"tilt": 0.0, "gaussian_noise": 0.0}

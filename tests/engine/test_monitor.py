"""Looking must not change what is looked at."""

import pytest
import torch
from torch import nn

from pipeline.data.images import Images
from pipeline.engine import monitor as monitors
from pipeline.engine.monitor import Monitor
from pipeline.errors import Collapsed
from pipeline.methods.pretext.simclr import SimCLR
from pipeline.views.normalise import Normalise
from tests.harness import stage


@pytest.fixture
def monitor(pixels):
    images, labels = pixels

    def make(classifies: bool, val: int = 12) -> Monitor:
        return Monitor(
            labelled=Images(images[12:]),
            labels=labels[12:],
            val=Images(images[:val]),
            val_labels=labels[:val],
            classes=3,
            transform=Normalise([0.3], [0.25]),
            batch=5,
            device=torch.device("cpu"),
            classifies=classifies,
        )

    return make


def test_of_an_encoder(monitor, encoder):
    row = monitor(False)(SimCLR(encoder))
    assert row.keys() == {"val_knn", "feature_std", "effective_rank"}
    assert row["val_knn"] > 0.7 and 0 < row["feature_std"] <= 1 and row["effective_rank"] > 1.2


class Reads(nn.Module):
    """A classifier of four classes, which calls image i by the i-th of its guesses."""

    def __init__(self, guesses):
        super().__init__()
        self.guesses, self.seen = guesses, 0

    @property
    def learned(self):
        return self

    def forward(self, x):
        own = self.guesses[self.seen : self.seen + len(x)]
        self.seen += len(x)
        return nn.functional.one_hot(own, 4).float()


def test_of_a_classifier(monitor):
    """Twelve images of classes 0, 1, 2, 0, ...: three of the four of class 0 are right, none of 1, all of 2."""
    look = monitor(True)
    look.classes = 4
    guesses = torch.tensor([0, 2, 2, 0, 3, 2, 0, 0, 2, 1, 0, 2])
    row = look(Reads(guesses))
    assert row == {"val_top1": 7 / 12, "val_class_00": 0.75, "val_class_01": 0.0, "val_class_02": 1.0}
    assert all(type(value) is float for value in row.values()), "as JSON and CSV write them"


def test_of_too_many_classes_there_is_no_curve_of_each(monitor, monkeypatch):
    look, guesses = monitor(True), torch.zeros(12, dtype=torch.int64)
    look.classes = 4
    monkeypatch.setattr(monitors, "EACH", 4)
    assert len(look(Reads(guesses))) == 4
    monkeypatch.setattr(monitors, "EACH", 3)
    assert look(Reads(guesses)) == {"val_top1": 1 / 3}


def test_without_validation_images(monitor, encoder):
    assert monitor(False, val=0)(SimCLR(encoder)) == {}


def test_collapse_stops(monitor, encoder):
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        for name, parameter in encoder.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(1.0)
    with pytest.raises(Collapsed, match="one point"):
        monitor(False)(SimCLR(encoder))


def test_nothing_is_drawn_and_nothing_changes(monitor, encoder):
    method = SimCLR(encoder).train()
    random, state = torch.get_rng_state(), {name: value.clone() for name, value in method.state_dict().items()}
    monitor(False)(method)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in method.state_dict().items())
    assert all(module.training for module in method.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "finetune"])
def test_training_with_and_without_monitors_gives_the_same_weights(forks, world, name):
    key, weights = {"simclr": "pretrain.simclr", "finetune": "finetune"}[name], []
    for count in (0, 8):
        here = world(name)
        assert forks.run(stage, here.folder, name, f"{key}.monitors={count}") == 0
        weights.append(here.digests(name)[f"models/{name}/model.safetensors"])
    assert weights[0] == weights[1]

"""The one place that says what a round learns from."""

import shutil

import torch

from pipeline.label.chosen import chosen
from pipeline.params import Params


def params(method):
    rounds = {"1": {"teacher": "finetune", "method": method}}
    return Params.model_validate({"rounds": rounds, "distill": {"select": {"threshold": 0.0, "quota": 20}}})


def test_weights_are_for_methods_that_ask_what_the_teacher_says(tmp_path, folder, shards):
    """23 images and a quota of 20 for each of four classes: some count several times, or all once."""
    root = tmp_path / "root"
    shutil.copytree(shards.folder, root / "shards" / "unlabelled")
    shutil.copytree(folder, root / "labels" / "1" / "finetune")
    labels, weighed = chosen("1", params("noisy_student"), root)
    _, once = chosen("1", params("self_training"), root)
    assert labels.teachers == ["finetune"] and len(labels) == 23
    assert torch.equal(once.rows, weighed.rows) and weighed.weights.max() > 1
    assert torch.equal(once.weights, torch.ones_like(once.rows))

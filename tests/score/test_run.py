"""One `evaluate` of an encoder, from its files to its scores."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.data.shards import ShardSet
from pipeline.data.write import write_split
from pipeline.errors import ParamsError
from pipeline.nets import encoder as encoders
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import rebuild
from pipeline.nets.heads import Head
from pipeline.nets.model import load_model, save_model
from pipeline.params import Params
from pipeline.score import run as module
from pipeline.score.calibration import fit_temperature, nll
from pipeline.score.features import embed
from pipeline.score.retrieval import score_retrieval
from pipeline.score.run import run

ABOUT = {"classes": ["cat", "dog", "owl"], "size": 8, "channels": 1, "mean": [0.5], "std": [0.3]}
MODELS = {"encoder": "one", "classifier": "two"}
SPEC = {"name": "tiny", "args": {"width": 4}, "sees": [], "norm": "batch", "drop": 0.0, "drop_path": 0.0, "neck": None}


@pytest.fixture
def root(tmp_path):
    draw = np.random.default_rng(0)
    looks = draw.integers(0, 120, (3, 8, 8))

    def samples(split, count):
        for i in range(count):
            packed = io.BytesIO()
            Image.fromarray((looks[i % 3] + draw.integers(0, 130, (8, 8))).astype(np.uint8)).save(packed, "png")
            yield f"{split}-{i}", packed.getvalue(), i % 3

    for split, count in {"labelled": 12, "test": 45, "val": 24}.items():
        write_split(tmp_path / "shards" / split, split, samples(split, count), **ABOUT)
    write_split(tmp_path / "shards" / "none", "val", samples("none", 0), **ABOUT)
    torch.manual_seed(0)
    encoder = rebuild(SPEC | {key: ABOUT[key] for key in ("channels", "size", "mean", "std")})
    heads = {"encoder": nn.Identity(), "classifier": nearest_mean(encoder, tmp_path / "shards" / "labelled")}
    for kind, head in heads.items():
        about = ABOUT | {"kind": kind, "stage": MODELS[kind]}
        save_model(tmp_path / "models" / MODELS[kind], Branch(encoder, head), about)
    return tmp_path


def nearest_mean(encoder, folder):
    """A head that is better than chance, and too sure: the class whose mean feature is nearest, times ten."""
    head, shards = Head([encoder.dim, 3]), ShardSet.open(folder)
    features, labels = embed(encoder, shards.decoded(1 << 20), scale, 64, "cpu"), torch.from_numpy(shards.labels)
    means = torch.stack([features[labels == c].mean(0) for c in range(3)])
    (linear,) = [module for module in head.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        linear.weight.copy_(10 * means)
        linear.bias.copy_(-5 * means.square().sum(1))
    return head


def score(root, name):
    """With batches of 10, so that the test images are in several."""
    run(name, Params.model_validate({"runtime": {"device": "cpu"}, "label": {"batch": 10}}), root)
    return json.loads((root / "scores" / name / "metrics.json").read_text())


def evaluate(root):
    run("one", Params.model_validate({"runtime": {"device": "cpu"}}), root)
    scores = root / "scores" / "one"
    tables = {path.stem: list(csv.DictReader(path.open())) for path in scores.glob("*.csv")}
    return json.loads((scores / "metrics.json").read_text()), tables, Image.open(scores / "neighbours.png")


def test_neighbours_are_test_images_by_the_frozen_features_and_framed_where_the_class_differs(root):
    metrics, tables, picture = evaluate(root)
    assert {"n", "knn", "linear", "map", "precision_at_8", "effective_rank"} <= metrics.keys()
    assert [row["depth"] for row in tables["layers"]] == list("0123")
    of_test = [ABOUT["classes"][label] for label in ShardSet.open(root / "shards" / "test").labels]
    assert [row["class"] for row in tables["embedding"]] == of_test
    assert picture.size == (12 + 9 * 58 - 2, 3 * 58 - 2) and len(tables["neighbours"]) == 3 * 8
    test = ShardSet.open(root / "shards" / "test")
    of = dict(zip(test.keys, test.labels.tolist(), strict=True))
    seen = embed(load_model(root / "models" / "one").branch.encoder, test.decoded(1 << 20), scale, 64, "cpu")
    assert metrics["map"] == pytest.approx(score_retrieval(seen, torch.from_numpy(test.labels))["map"], abs=1e-6)
    pixels = np.asarray(picture.convert("RGBA")).astype(int)
    for place, row in enumerate(tables["neighbours"]):
        assert row["query"] != row["neighbour"]
        assert (ABOUT["classes"][of[row["query"]]], ABOUT["classes"][of[row["neighbour"]]]) == (
            row["class"],
            row["neighbour_class"],
        )
        line, column = place // 8, place % 8 + 1
        x, y = 12 + 58 * column, 58 * line
        assert (pixels[y, x, 3] == 255) == (row["class"] != row["neighbour_class"])
        shown = test.images([test.keys.index(row["neighbour"])])[0, 0].numpy()
        assert (pixels[y + 4 : y + 52 : 6, x + 4 : x + 52 : 6, 0] == shown).all()


def scale(images):
    return (images.float() / 255 - 0.5) / 0.3


def test_a_network_that_does_not_show_its_maps_is_scored_all_the_same(root, monkeypatch):
    def refuse(*_):
        raise ParamsError("does not show the maps of its stages")

    monkeypatch.setattr(encoders, "feature_maps", refuse)
    metrics, tables, _ = evaluate(root)
    assert tables["layers"] == [] and metrics["linear"] > 0 and len(tables["neighbours"]) == 24


def test_the_same_model_gives_the_same_bytes(root):
    def everything():
        evaluate(root)
        return {path.name: path.read_bytes() for path in (root / "scores" / "one").iterdir()}

    assert everything() == everything()


def test_the_temperature_of_a_classifier_is_fitted_on_the_validation_images(root):
    network, metrics = load_model(root / "models" / "two").branch, score(root, "two")
    said, right = {}, {}
    for split in ("val", "test"):
        shards = ShardSet.open(root / "shards" / split)
        said[split] = embed(network, shards.decoded(1 << 20), scale, 64, "cpu")
        right[split] = torch.from_numpy(shards.labels)
    fitted = {split: fit_temperature(said[split], right[split]) for split in said}
    assert abs(fitted["val"] / fitted["test"] - 1) > 0.01, "else the wrong split would not be noticed"
    assert metrics["temperature"] == pytest.approx(fitted["val"], rel=1e-4)
    assert metrics["nll"] == pytest.approx(nll(said["test"], right["test"]), rel=1e-5)
    assert metrics["nll_tempered"] == pytest.approx(nll(said["test"] / fitted["val"], right["test"]), rel=1e-4)
    assert len(list(csv.DictReader((root / "scores" / "two" / "embedding.csv").open()))) == 45
    rows = list(csv.DictReader((root / "scores" / "two" / "risk.csv").open()))
    assert list(rows[0]) == ["coverage", "n", "confidence", "risk"] and rows[-1]["n"] == "45"
    time = json.loads((root / "times" / "evaluate-two.json").read_text())
    assert time["images_per_second"] == pytest.approx(45 / time["seconds"])


def test_without_validation_images_there_is_no_temperature(root):
    (root / "shards" / "val").rename(root / "shards" / "kept")
    (root / "shards" / "none").rename(root / "shards" / "val")
    metrics = score(root, "two")
    assert {metrics[name] for name in ("temperature", "nll_tempered", "ece_tempered")} == {None}
    assert metrics["nll"] > 0


def test_of_many_validation_images_some_are_drawn(root, monkeypatch):
    every = score(root, "two")["temperature"]
    monkeypatch.setattr(module, "FITTED", 9)
    seen = []
    monkeypatch.setattr(module, "fit_temperature", lambda logits, labels: seen.append(labels) or 2.0)
    assert score(root, "two")["temperature"] == 2 != every
    assert len(seen[0]) == 9 and len(seen[0].unique()) > 1

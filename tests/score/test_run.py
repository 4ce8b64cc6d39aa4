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
from pipeline.nets.model import load_model, save_model
from pipeline.params import Params
from pipeline.score.features import embed
from pipeline.score.retrieval import score_retrieval
from pipeline.score.run import run

ABOUT = {"classes": ["cat", "dog", "owl"], "size": 8, "channels": 1, "mean": [0.5], "std": [0.3]}
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

    for split, count in {"labelled": 12, "test": 45}.items():
        write_split(tmp_path / "shards" / split, split, samples(split, count), **ABOUT)
    torch.manual_seed(0)
    branch = Branch(rebuild(SPEC | {key: ABOUT[key] for key in ("channels", "size", "mean", "std")}), nn.Identity())
    save_model(tmp_path / "models" / "one", branch, ABOUT | {"kind": "encoder", "stage": "one"})
    return tmp_path


def evaluate(root):
    run("one", Params.model_validate({"runtime": {"device": "cpu"}}), root)
    scores = root / "scores" / "one"
    tables = {path.stem: list(csv.DictReader(path.open())) for path in scores.glob("*.csv")}
    return json.loads((scores / "metrics.json").read_text()), tables, Image.open(scores / "neighbours.png")


def test_neighbours_are_test_images_by_the_frozen_features_and_framed_where_the_class_differs(root):
    metrics, tables, picture = evaluate(root)
    assert {"n", "knn", "linear", "map", "precision_at_8", "effective_rank"} <= metrics.keys()
    assert [row["depth"] for row in tables["layers"]] == list("0123")
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

"""The images that a person is asked to label: typical ones, found without a label."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline import yaml_file
from pipeline.data.prepare import prepare
from pipeline.data.shards import ShardSet
from pipeline.errors import BadData, ParamsError
from pipeline.label.choose import central, run
from pipeline.losses import unit
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from pipeline.nets.model import load_model, save_model
from pipeline.params import Params

DIGITS = {"source": "digits", "size": 8, "channels": 1, "labels_per_class": 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """data/ with digits, an encoder and a classifier whose weights are random."""
    root = tmp_path_factory.mktemp("choose") / "data"
    params = Params.model_validate({"data": DIGITS, "runtime": {"device": "cpu"}})
    prepare(params.data, root)
    models(root)
    return root, params


def models(root):
    torch.manual_seed(0)
    page = ShardSet.open(root / "shards" / "unlabelled").manifest
    encoder = build_encoder(Params().encoder, page.channels, page.size, page.mean, page.std)
    for name, kind, head in (("one", "encoder", nn.Identity()), ("two", "classifier", Head([encoder.dim, 10]))):
        save_model(root / "models" / name, Branch(encoder, head), {"kind": kind, "stage": name, **page.about_images()})


def table(folder):
    with open(folder / "labels.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_one_image_of_each_cluster(prepared, tmp_path):
    """None of them kept for validation or test; their pictures are there to look at, their labels are not."""
    root, params = prepared
    rows = run("one", 12, tmp_path / "chosen", params, root)
    shards = ShardSet.open(root / "shards" / "unlabelled")
    assert table(tmp_path / "chosen") == [{name: str(value) for name, value in row.items()} for row in rows]
    assert list(rows[0]) == ["key", "label", "cluster", "images", "distance", "picture", "shard"]
    assert {row["cluster"] for row in rows} == {str(n) for n in range(12)} and len({row["key"] for row in rows}) == 12
    assert {row["label"] for row in rows} == {""} and sum(row["images"] for row in rows) == len(shards) == 1259
    for row in rows:
        place = shards.keys.index(row["key"])
        with Image.open(tmp_path / "chosen" / row["picture"]) as picture:
            assert np.array_equal(np.asarray(picture), shards.images([place])[0, 0].numpy())
        assert row["shard"] == shards.shards[shards.shard_of[place]].name
    assert sorted(p.name for p in (tmp_path / "chosen").iterdir()) == sorted(
        ["labels.csv", *(r["picture"] for r in rows)]
    )


def test_no_label_is_read(prepared, tmp_path):
    """Neither the hidden ones nor those of training: without them the choice is the same."""
    root, params = prepared
    shutil.copytree(root, tmp_path / "bare")
    for known in ("truth", "shards/labelled", "shards/val", "shards/test"):
        shutil.rmtree(tmp_path / "bare" / known)
    found = [run("one", None, tmp_path / name, params, of) for name, of in (("a", root), ("b", tmp_path / "bare"))]
    assert found[0] == found[1] and len(found[0]) == 10


def test_a_classifier_chooses_of_each_class_that_it_guesses(prepared, tmp_path):
    root, params = prepared
    rows = run("two", 20, tmp_path / "chosen", params, root)
    shards, branch = ShardSet.open(root / "shards" / "unlabelled"), load_model(root / "models" / "two").branch
    about = load_model(root / "models" / "two").about
    x = (shards.images(range(len(shards))) / 255 - torch.tensor(about["mean"])) / torch.tensor(about["std"])
    with torch.no_grad():
        features, guess = branch.encoder(x), branch(x).argmax(1)
    for name in {row["cluster"] for row in rows}:
        mine = [shards.keys.index(row["key"]) for row in rows if row["cluster"] == name]
        rest = (guess == int(name)).nonzero().flatten()
        cosines = nn.functional.cosine_similarity(features[rest], unit(features[rest]).mean(0), dim=1)
        assert set(mine) == set(rest[cosines.topk(min(2, len(rest))).indices].tolist())
    assert len(rows) == sum(min(2, n) for n in guess.bincount().tolist())
    with pytest.raises(ParamsError, match="--count 15: a classifier chooses as many of each class; 10 classes"):
        run("two", 15, tmp_path / "other", params, root)


def test_what_a_person_fills_in_is_what_is_labelled(prepared, tmp_path):
    """From the choice to the shards: exactly these images, with these labels."""
    root, params = prepared
    run("one", 40, tmp_path / "chosen", params, root)
    rows = table(tmp_path / "chosen")
    for place, row in enumerate(rows):
        row["label"] = str(place % 10)
    with open(tmp_path / "chosen" / "labels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = params.data.model_copy(update={"labels_per_class": None, "labels": str(tmp_path / "chosen" / "labels.csv")})
    prepare(data, tmp_path / "data")
    labelled, before = (ShardSet.open(of / "shards" / "labelled") for of in (tmp_path / "data", root))
    assert dict(zip(labelled.keys, labelled.labels.tolist(), strict=True)) == {r["key"]: int(r["label"]) for r in rows}
    assert set(labelled.keys) != set(before.keys)
    for split in ("unlabelled", "val", "test"):
        assert (tmp_path / "data" / "shards" / split / "keys.txt").read_text() == (
            root / "shards" / split / "keys.txt"
        ).read_text()


def test_the_most_central_images_against_numpy():
    draw = torch.Generator().manual_seed(0)
    x, groups = unit(torch.randn(50, 4, generator=draw)), torch.randint(0, 4, (50,), generator=draw)
    groups[groups == 2] = 3
    found = central(x, groups, 3)
    assert [group for group, _, _ in found] == [0, 0, 0, 1, 1, 1, 3, 3, 3], "a group without images has none"
    for group in (0, 1, 3):
        rows = np.flatnonzero(groups.numpy() == group)
        mean = x.numpy()[rows].astype(np.float64).mean(0)
        distances = 1 - x.numpy()[rows] @ mean / np.linalg.norm(mean)
        order = np.argsort(distances)[:3]
        assert [row for g, row, _ in found if g == group] == rows[order].tolist()
        np.testing.assert_allclose([d for g, _, d in found if g == group], distances[order], atol=1e-6)


def test_what_cannot_be_chosen_is_refused(prepared, tmp_path):
    root, params = prepared
    with pytest.raises(ParamsError, match="--count 5000: there are 1259 unlabelled images"):
        run("one", 5000, tmp_path / "chosen", params, root)
    with pytest.raises(BadData, match=r"model\.json: no such file"):
        run("none", 10, tmp_path / "chosen", params, root)
    assert not (tmp_path / "chosen").exists()
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "labels.csv").write_text("the work of a day")
    with pytest.raises(ParamsError, match="perhaps with labels in it; name another folder"):
        run("one", 10, tmp_path / "chosen", params, root)
    assert (tmp_path / "chosen" / "labels.csv").read_text() == "the work of a day"


def test_the_command(prepared, tmp_path, monkeypatch, capsys):
    from stages.tools import choose

    root, _ = prepared
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(root)
    Path("params.yaml").write_text("data: {source: digits, size: 8, channels: 1}\nruntime: {device: cpu}\n")
    choose("one", Path("chosen"), 3, [], Path("params.yaml"))
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in said[:3]] == [row["key"] for row in table(tmp_path / "chosen")]
    assert "chosen/labels.csv" in said[3] and "data.labels" in said[3]
    assert yaml_file.load(Path("params.yaml"), ["data.labels=chosen/labels.csv"]).data.labels == "chosen/labels.csv"

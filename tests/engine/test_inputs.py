"""What the engine tells a method of its images."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import catalogue, params
from pipeline.data.write import write_split
from pipeline.engine.inputs import Inputs
from pipeline.errors import BadData
from pipeline.nets.encoder import build_encoder
from pipeline.views.recipe import parse
from pipeline.views.recipes import FIXMATCH, WEAK


def png(grey):
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4), grey, np.uint8)).save(out, "PNG")
    return out.getvalue()


def prepared(folder, labelled=("q", "b", "m")):
    """Three labelled images and six without a label, of which some are the same."""
    keys = {"labelled": labelled, "unlabelled": ["a", "b", "c", "m", "q", "z"], "val": ["v"]}
    labels = {"q": 2, "b": 0, "m": 1, "n": 1, "v": 0}
    shape = {"size": 4, "channels": 1, "classes": list("xyz"), "mean": [0.5], "std": [0.3]}
    for split, names in keys.items():
        samples = [(name, png(7), None if split == "unlabelled" else labels[name]) for name in names]
        write_split(folder / "shards" / split, split, samples, per_shard=2, **shape)
    return Inputs(folder, 1.0, torch.device("cpu"), "unlabelled")


def test_labelled_images_are_found_among_the_unlabelled_by_their_keys(tmp_path):
    """Whatever the order of either, and the shard."""
    assert prepared(tmp_path).known().tolist() == [-1, 0, -1, 1, 2, -1]


def test_pseudo_labels_join_the_labels_and_never_take_their_place(tmp_path):
    """Each image once, an image of the labelled set with its own class."""
    prepared(tmp_path)
    teacher = torch.tensor([2, 2, -1, -1, 2, 0])  # of a, b, c, m, q, z; b is 0, m is 1, q is 2
    inputs = Inputs(tmp_path, 1.0, torch.device("cpu"), "unlabelled", teacher)
    assert inputs.known().tolist() == [2, 0, -1, 1, 2, 0]
    encoder = build_encoder(params.Encoder(args={"width": 2, "stem_stride": 1}), 1, 4, [0.5], [0.3])
    method = catalogue.find("fixmatch", "semi").load()(encoder, classes=3)
    streams = inputs.batches(method, params.Training(batch=5, ratio=6), 0, None, {}).streams
    rows = streams["labelled"].at(0, 0, "labelled")
    assert sorted(rows.tolist()) == [0, 1, 3, 4, 5], "one epoch, and no row of it twice"
    assert streams["labelled"].columns["y"](torch.tensor([0, 1, 3, 4, 5])).tolist() == [2, 0, 1, 2, 0]
    assert streams["unlabelled"].rows.tolist() == [0, 1, 2, 3, 4, 5], "all of them, with and without a label"


def test_a_labelled_image_that_the_teacher_did_not_see_is_refused(tmp_path):
    inputs = prepared(tmp_path, labelled=("q", "b", "n"))
    encoder = build_encoder(params.Encoder(args={"width": 2, "stem_stride": 1}), 1, 4, [0.5], [0.3])
    method = catalogue.find("supervised", "semi").load()(encoder, classes=3)
    assert inputs.batches(method, params.Training(batch=3), 0, None, {}).streams["labelled"].rows.tolist() == [0, 1, 2]
    inputs.pseudo = torch.full((6,), -1)
    with pytest.raises(BadData, match="the labelled image 'n' is not among them"):
        inputs.batches(method, params.Training(batch=3), 0, None, {})


def test_only_those_views_are_made_that_the_method_has_a_use_for(tmp_path):
    """Each costs as much as another one; the labelled batch counts once, the others `ratio` times."""
    inputs, training = prepared(tmp_path), params.Training(steps=1, batch=2, ratio=2, views={"v": "plain"})
    encoder = build_encoder(params.Encoder(args={"width": 2, "stem_stride": 1}), 1, 4, [0.5], [0.3])
    for augmentations, views in ((1, {"u"}), (2, {"u", "v"}), (4, {"u", "v", "w", "z"})):
        method = catalogue.find("mixmatch", "semi").load()(encoder, classes=3, augmentations=augmentations)
        seen = inputs.batches(method, training, 0, None, {}).at(0)
        assert seen.keys() == {"x", "y"} | views
        assert len(seen["x"]) == len(seen["y"]) == 2 and all(len(seen[view]) == 4 for view in views)


def test_repeats_are_of_every_batch(tmp_path):
    """Labelled or not; what a batch holds does not grow."""
    encoder = build_encoder(params.Encoder(args={"width": 2, "stem_stride": 1}), 1, 4, [0.5], [0.3])
    method = catalogue.find("noisy_student", "distill").load()(encoder, classes=3)
    columns = {"teacher": lambda rows: rows}
    batches = prepared(tmp_path).batches(method, params.Training(batch=4, ratio=2, repeats=2), 0, None, columns)
    rows = {name: stream.at(1, 0, name) for name, stream in batches.streams.items()}
    assert {name: len(each) for name, each in rows.items()} == {"labelled": 4, "unlabelled": 8}
    assert all(torch.equal(*each.chunk(2)) for each in rows.values())


def test_views_are_made_by_the_recipes_that_the_instance_wants(tmp_path):
    """And by those of params.yaml first."""
    inputs = prepared(tmp_path)
    encoder = build_encoder(params.Encoder(args={"width": 2, "stem_stride": 1}), 1, 4, [0.5], [0.3])
    training = params.Training(batch=2, views={"u": "flip"})
    made = {}
    for strong in ("recipe", "ctaugment"):
        method = catalogue.find("remixmatch", "semi").load()(encoder, classes=3, strong=strong)
        streams = inputs.batches(method, training, 0, None, {}).streams.values()
        made[strong] = {name: view.recipe for stream in streams for name, view in stream.views.items()}
    strong, weak = parse(FIXMATCH), parse(WEAK)
    assert made["recipe"] == {"x": strong, "u": parse("flip"), "s": strong, "r": strong}
    assert made["ctaugment"] == {"x": weak, "u": parse("flip"), "s": weak, "r": weak}

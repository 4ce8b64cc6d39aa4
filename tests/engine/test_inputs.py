"""What the engine tells a method of its images."""

import io

import numpy as np
import torch
from PIL import Image

from pipeline import catalogue, params
from pipeline.data.write import write_split
from pipeline.engine.inputs import Inputs
from pipeline.nets.encoder import build_encoder


def png(grey):
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4), grey, np.uint8)).save(out, "PNG")
    return out.getvalue()


def prepared(folder):
    """Three labelled images and six without a label, of which some are the same."""
    keys = {"labelled": ["q", "b", "m"], "unlabelled": ["a", "b", "c", "m", "q", "z"], "val": ["v"]}
    labels = {"q": 2, "b": 0, "m": 1, "v": 0}
    shape = {"size": 4, "channels": 1, "classes": list("xyz"), "mean": [0.5], "std": [0.3]}
    for split, names in keys.items():
        samples = [(name, png(7), None if split == "unlabelled" else labels[name]) for name in names]
        write_split(folder / "shards" / split, split, samples, per_shard=2, **shape)
    return Inputs(folder, 1.0, torch.device("cpu"), "unlabelled")


def test_labelled_images_are_found_among_the_unlabelled_by_their_keys(tmp_path):
    """Whatever the order of either, and the shard."""
    assert prepared(tmp_path).known().tolist() == [-1, 0, -1, 1, 2, -1]


def test_only_those_views_are_made_that_the_method_has_a_use_for(tmp_path):
    """Each costs as much as another one; the labelled batch counts once, the others `ratio` times."""
    inputs, training = prepared(tmp_path), params.Training(steps=1, batch=2, ratio=2, views={"v": "plain"})
    encoder = build_encoder(params.Encoder(args={"width": 2, "stem_stride": 1}), 1, 4, [0.5], [0.3])
    for augmentations, views in ((1, {"u"}), (2, {"u", "v"}), (4, {"u", "v", "w", "z"})):
        method = catalogue.find("mixmatch", "semi").load()(encoder, classes=3, augmentations=augmentations)
        seen = inputs.batches(method, training, 0, None, {}).at(0)
        assert seen.keys() == {"x", "y"} | views
        assert len(seen["x"]) == len(seen["y"]) == 2 and all(len(seen[view]) == 4 for view in views)

"""What the engine tells a method of its images."""

import io

import numpy as np
import torch
from PIL import Image

from pipeline.data.write import write_split
from pipeline.engine.inputs import Inputs


def png(grey):
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4), grey, np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_labelled_images_are_found_among_the_unlabelled_by_their_keys(tmp_path):
    """Whatever the order of either, and the shard."""
    keys = {"labelled": ["q", "b", "m"], "unlabelled": ["a", "b", "c", "m", "q", "z"], "val": ["v"]}
    labels = {"q": 2, "b": 0, "m": 1, "v": 0}
    shape = {"size": 4, "channels": 1, "classes": list("xyz"), "mean": [0.5], "std": [0.3]}
    for split, names in keys.items():
        samples = [(name, png(7), None if split == "unlabelled" else labels[name]) for name in names]
        write_split(tmp_path / "shards" / split, split, samples, per_shard=2, **shape)
    inputs = Inputs(tmp_path, 1.0, torch.device("cpu"), "unlabelled")
    assert inputs.known().tolist() == [-1, 0, -1, 1, 2, -1]

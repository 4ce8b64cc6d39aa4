"""Which images a person should label: the most typical of each group whose features are alike. No label is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.data.standardise import encode
from pipeline.device import choose
from pipeline.errors import ParamsError
from pipeline.losses import unit
from pipeline.nets.kmeans import tightest
from pipeline.nets.model import load_model
from pipeline.params import Params
from pipeline.score.features import embed
from pipeline.views.plain import Plain


def run(name: str, count: int | None, to: Path, params: Params, root: Path) -> list[dict[str, Any]]:
    """Write `to`/labels.csv, whose column `label` a person fills in, and the images beside it; returns its rows.

    An encoder sorts the unlabelled images into `count` clusters, one image of each; a classifier into the classes that
    it guesses, the same number of images of each, and none of a class that it never guesses. None is as many as there
    are classes. (arXiv:2006.09363 begins with iconic images, and replaces those of classes that are learned badly.)

    Raises ParamsError for a count that cannot be had, and where `to` is there; BadData where model and images do not
    belong together.
    """
    if to.exists():
        raise ParamsError(f"{to} is there already, perhaps with labels in it; name another folder")
    device, model = choose(params.runtime.device), load_model(root / "models" / name)
    shards = ShardSet.open(root / "shards" / "unlabelled")
    model.fits(shards.manifest)
    branch, classes = model.branch.to(device).to(memory_format=torch.channels_last), shards.manifest.classes
    count = count or len(classes)
    images = shards.decoded(int(params.runtime.memory * 2**30)).to(device)
    transform = Plain.of(model.about)
    features = embed(branch.encoder, images, transform, params.label.batch, device)
    if model.about["kind"] == "classifier":
        if count % len(classes):
            raise ParamsError(f"--count {count}: a classifier chooses as many of each class; {len(classes)} classes")
        with torch.inference_mode():
            groups = branch.head(features.to(device)).argmax(1).cpu()
        names, each = classes, count // len(classes)
    else:
        if count > len(shards):
            raise ParamsError(f"--count {count}: there are {len(shards)} unlabelled images")
        groups, names, each = tightest(unit(features), count, params.seed, "choose"), [str(n) for n in range(count)], 1
    found = central(unit(features), groups, each)
    rows = [
        {
            "key": shards.keys[row],
            "label": "",
            "cluster": names[group],
            "images": int((groups == group).sum()),
            "distance": round(distance, 6),
            "picture": f"{place:03d}.png",
            "shard": shards.shards[shards.shard_of[row]].name,
        }
        for place, (group, row, distance) in enumerate(found)
    ]
    pixels = shards.images([row for _, row, _ in found]).permute(0, 2, 3, 1).numpy()
    with files.publish(to) as folder:
        for entry, picture in zip(rows, pixels, strict=True):
            files.write_bytes(folder / entry["picture"], encode(picture, "png"))
        files.write_csv(folder / "labels.csv", rows)
    return rows


def central(features: Tensor, groups: Tensor, each: int) -> list[tuple[int, int, float]]:
    """(group, row, distance) of the `each` rows of every group that are nearest to its mean, the nearest first.

    features (N, D) of length 1, groups (N,). A distance is 1 - the cosine with the mean; a group without rows has none.
    """
    found = []
    for group in groups.unique().tolist():
        rows = (groups == group).nonzero().flatten()
        distances = 1 - features[rows] @ unit(features[rows].mean(0))
        order = distances.argsort(stable=True)[:each]
        found += [(group, int(rows[place]), float(distances[place])) for place in order.tolist()]
    return found

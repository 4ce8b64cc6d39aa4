"""What a round learns from: the labels of its teachers, and which of them its rules select."""

from __future__ import annotations

from pathlib import Path

from pipeline import catalogue
from pipeline.data.shards import ShardSet
from pipeline.label.labels import Labels
from pipeline.label.select import Selection, select
from pipeline.params import Params


def chosen(name: str, params: Params, root: Path) -> tuple[Labels, Selection]:
    """Of round `name`. Each image counts once where the method takes the pseudo-labels for labels.

    Raises BadData as `Labels.open` does.
    """
    shards, rules = ShardSet.open(root / "shards" / "unlabelled"), params.round_distill(name).select
    labels = Labels.open(root / "labels" / name, shards, params.round_teachers(name))
    classes = len(shards.manifest.classes)
    selection = select(labels.confidence(), labels.guess(), shards.keys, rules, params.seed, classes)
    weighs = catalogue.find(params.rounds[name].method, "distill").columns
    return labels, selection if weighs else selection.once()

"""The pseudo-labels that a round has chosen, as plain webdataset shards: for programs that know nothing of sidecars."""

from __future__ import annotations

from pathlib import Path

from pipeline import files
from pipeline.data import tars
from pipeline.data.write import SplitWriter
from pipeline.errors import ParamsError
from pipeline.label.labels import Labels
from pipeline.label.select import Selection

CHUNK = 1024  # images held at a time


def materialise(labels: Labels, selection: Selection, to: Path, per_shard: int) -> None:
    """Publish the selected images as the split `to`, in the order of the unlabelled shards, their bytes untouched.

    `cls` is what the teachers take it for, also where the label is known. `json` says which teachers, how sure they are
    (the largest probability), and how often the student sees the image: here it stands once. The same labels and
    selection give the same bytes.

    Raises ParamsError where `to` is there already, or nothing was selected; BadData where a shard is damaged.
    """
    if to.exists():
        raise ParamsError(f"{to} is there already; remove it, or name another folder with --to")
    if not len(selection.rows):
        raise ParamsError(
            f"no image is selected; lower distill.select.threshold, now {selection.floor}, or raise the quota"
        )
    shards, page = labels.shards, labels.shards.manifest
    extension = next(tars.members(shards.shards[0].path)).name.rpartition(".")[2]
    confidence, guess = labels.confidence(), labels.guess()
    with files.publish(to) as folder, SplitWriter(folder, "labelled", per_shard, extension) as writer:
        for rows, weights in zip(selection.rows.split(CHUNK), selection.weights.split(CHUNK), strict=True):
            for row, weight, image in zip(rows.tolist(), weights.tolist(), shards.encoded(rows), strict=True):
                sure, label = float(confidence[row]), int(guess[row])
                about = {"class": page.classes[label], "confidence": sure, "weight": weight}
                writer.add(shards.keys[row], image, label, about | {"teachers": labels.teachers})
        writer.close(page.classes, page.size, page.channels, page.mean, page.std)

"""The images of a trained stage: opened, checked, decoded once, and made into batches and a monitor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.data.batches import Batches, Column, Stream
from pipeline.data.images import Images
from pipeline.data.shards import ShardSet
from pipeline.engine import ranks
from pipeline.engine.monitor import Monitor
from pipeline.errors import BadData
from pipeline.methods.method import Method
from pipeline.params import Training
from pipeline.score.features import embed
from pipeline.views.plain import Plain
from pipeline.views.view import View

SPLITS = ("labelled", "unlabelled", "val")
LOOK = 256
"""images per forward pass where nothing is learned"""


class Inputs:
    """Raises BadData where the splits under root/shards do not belong together.

    `images`: the unlabelled ones. `pseudo`: classes that a teacher gave some of them, -1 of all others: (count,).
    `page`: the manifest of the labelled images, with the `size` that the network is to be shown.
    """

    def __init__(
        self,
        root: Path,
        memory: float,
        device: torch.device,
        images: str,
        pseudo: Tensor | None = None,
        size: int | None = None,
    ):
        self.pseudo = pseudo
        folders = dict(zip(SPLITS, ("labelled", images, "val"), strict=True))
        self.sets = {split: ShardSet.open(root / "shards" / folder) for split, folder in folders.items()}
        labelled, self.device = self.sets["labelled"].manifest, device
        for each in self.sets.values():
            mine, its = ((m.size, m.channels, m.classes_sha256) for m in (labelled, each.manifest))
            if mine != its and (each.manifest.classes or mine[:2] != its[:2]):  # further images have no classes
                raise BadData(f"{each.folder}: other classes, size or channels than the labelled images; prepare again")
        self.page = labelled.model_copy(update={"size": size or labelled.size})
        self.plain = Plain(self.page.size, self.page.mean, self.page.std)
        self.images = cache(lambda split: self.sets[split].decoded(int(memory * 2**30)).to(device))

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What the splits hold, for the fingerprint."""
        return {split: each.manifest.sha256 for split, each in self.sets.items()}

    @property
    def count(self) -> int:
        """How many unlabelled images there are."""
        return len(self.sets["unlabelled"])

    def labels(self, split: str) -> Tensor:
        return torch.from_numpy(self.sets[split].labels)

    def known(self) -> Tensor:
        """The class of each unlabelled image that is a labelled one too, by its key, and -1 of the others: (count,).

        A label goes before what a teacher says of the image.
        """
        labels = dict(zip(self.sets["labelled"].keys, self.labels("labelled").tolist(), strict=True))
        known = torch.tensor([labels.get(key, -1) for key in self.sets["unlabelled"].keys])
        return known if self.pseudo is None else known.where(known >= 0, self.pseudo)

    def embed(self, net: nn.Module) -> Tensor:
        """The output of `net` for the whole unlabelled set, in its order, fp32 on the CPU."""
        return embed(net, self.images("unlabelled"), self.plain, LOOK, self.device)

    def batches(
        self, method: Method, training: Training, seed: int, rows: Tensor | None, columns: Mapping[str, Column]
    ) -> Batches:
        """The streams that the method asks for. `rows`, `columns`: of the unlabelled images (Task says which)."""
        streams = {}
        if method.labelled:
            batch, views = training.batch, self._views(method.labelled, training)
            split, chosen, labels = self._labelled()
            y: dict[str, Column] = {"y": lambda rows: labels[rows]}
            streams["labelled"] = self._stream(split, chosen, batch, views, y, training.repeats)
        if method.unlabelled:
            batch, views = (
                training.batch * (training.ratio if method.labelled else 1),
                self._views(method.unlabelled, training),
            )
            asked = {name: columns[name] for name in method.columns}
            streams["unlabelled"] = self._stream("unlabelled", rows, batch, views, asked, training.repeats)
        parts = {name: ranks.part(stream.batch) for name, stream in streams.items()}
        return Batches(streams, seed, self.device, parts, index="index" in method.asks())

    def monitor(self, classifies: bool) -> Monitor:
        return Monitor(
            labelled=self.images("labelled"),
            labels=self.labels("labelled"),
            val=self.images("val"),
            val_labels=self.labels("val"),
            classes=len(self.page.classes),
            transform=self.plain,
            batch=LOOK,
            device=self.device,
            classifies=classifies,
        )

    def _labelled(self) -> tuple[str, Tensor | None, Tensor]:
        """A split, the rows of it that have a class, and the classes of all its rows."""
        if self.pseudo is None:
            return "labelled", None, self.labels("labelled")
        where = self.sets["unlabelled"]
        if missing := set(self.sets["labelled"].keys).difference(where.keys):
            raise BadData(f"{where.folder}: the labelled image {min(missing)!r} is not among them; prepare again")
        labels = self.known()
        return "unlabelled", (labels >= 0).nonzero().flatten(), labels

    def _views(self, recipes: Mapping[str, str], training: Training) -> dict[str, View]:
        chosen = {name: training.views.get(name, recipe) for name, recipe in recipes.items()}
        return {name: View(text, self.page.size, self.page.mean, self.page.std) for name, text in chosen.items()}

    def _stream(
        self,
        split: str,
        rows: Tensor | None,
        batch: int,
        views: Mapping[str, View],
        columns: Mapping[str, Column],
        repeats: int,
    ) -> Stream:
        images: Images = self.images(split)
        rows = torch.arange(len(images)) if rows is None else rows
        if not len(rows):
            raise BadData(f"{self.sets[split].folder}: no {split} image to learn from; look at `data` and `select`")
        return Stream(images, rows, batch, views, columns, repeats)

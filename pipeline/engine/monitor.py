"""What is looked at during training, on the validation images. Nothing is selected by it; a collapse stops the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.images import Images
from pipeline.methods.method import Method
from pipeline.score import collapse
from pipeline.score.accuracy import per_class, top_k
from pipeline.score.features import embed
from pipeline.score.knn import knn

LOOKED_AT = 1000
"""images whose features are checked for collapse"""
EACH = 100
"""classes up to which each has a curve of its own: a column each in the CSV and in every checkpoint"""
CLASS = "val_class_"
"""begins the column of a class; its place among the classes follows, since a name may hold anything"""


@dataclass
class Monitor:
    """Called with the method; gives named numbers for the curves."""

    labelled: Images
    labels: Tensor
    val: Images
    val_labels: Tensor
    classes: int
    transform: Callable[[Tensor], Tensor]
    batch: int
    device: torch.device
    classifies: bool

    def __call__(self, method: Method) -> dict[str, float]:
        if not len(self.val):
            return {}
        if self.classifies:
            logits = embed(method.learned, self.val, self.transform, self.batch, self.device)
            return {"val_top1": top_k(logits, self.val_labels, 1)} | self._of_each_class(logits)
        encoder = method.learned.encoder
        seen = embed(encoder, self.val, self.transform, self.batch, self.device)
        std, rank = collapse.check(seen[:LOOKED_AT])
        known = embed(encoder, self.labelled, self.transform, self.batch, self.device)
        votes = knn(known, self.labels, seen, self.classes)
        return {"val_knn": top_k(votes, self.val_labels, 1), "feature_std": std, "effective_rank": rank}

    def _of_each_class(self, logits: Tensor) -> dict[str, float]:
        """Accuracy of each class that has a validation image; of none where there are more than EACH classes."""
        if self.classes > EACH:
            return {}
        columns = [f"{CLASS}{place:02d}" for place in range(self.classes)]
        rows = per_class(logits, self.val_labels, columns)
        return {row["class"]: row["accuracy"] for row in rows if row["n"]}

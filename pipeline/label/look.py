"""How a teacher looks at images: plain, or at several views of each; without noise, or with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pipeline import params, seed
from pipeline.label.ensemble import ensemble
from pipeline.nets.evaluating import evaluating
from pipeline.views.view import View


@dataclass(frozen=True)
class Look:
    """`views`: what is shown of an image. `noise`: dropout and stochastic depth stay on. Its text goes into sidecars.

    What is random is drawn for a batch by `where` it lies, so that no order of batches changes it.
    """

    views: Sequence[View]
    noise: bool
    seed: int

    @classmethod
    def of(cls, about: dict[str, Any], how: params.Label, run_seed: int) -> Look:
        """That of the model of that `about` (model.json). Raises ParamsError for a recipe that is none."""
        views = [View(text, about["size"], about["mean"], about["std"]) for text in how.views]
        return cls(views, how.noise, run_seed)

    def using(self, network: nn.Module) -> AbstractContextManager[None]:
        return evaluating(network, self.noise)

    def __call__(self, network: nn.Module, images: Tensor, *where: str | int) -> Tensor:
        """Logits fp32 (B, K) of uint8 images (B, C, H, W) on the device of the network: of the mean probability."""
        said = []
        for number, view in enumerate(self.views):
            purpose = ("label", *where, number)
            channels, height, width = images.shape[1:]
            draws = view.draw(len(images), (channels, height, width), seed.generator(self.seed, *purpose))
            if self.noise:
                seed.everything(self.seed, *purpose)
            said.append(network(view(images, draws)).float())
        return ensemble(said)

    def __str__(self) -> str:
        view = self.views[0]
        shown = f"{view.size} px, minus {list(view.normalise.mean)}, over {list(view.normalise.std)}"
        random = any(str(each.recipe) != "plain" for each in self.views) or self.noise
        drawn = f"; seed {self.seed}" if random else ""
        return f"{' and '.join(str(each.recipe) for each in self.views)}; {shown}{'; noise' * self.noise}{drawn}"

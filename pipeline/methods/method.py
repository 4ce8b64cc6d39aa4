"""A way of learning: the views it sees, the loss it minimises, what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from math import inf

import torch
from torch import Tensor, nn

from pipeline.nets.branch import Branch


class Method(nn.Module):
    """`step` reads like the box in the paper; the engine does the rest.

    Before its `yield` stands the equation, the `yield` gives the loss, after it stands what the method remembers. Its
    arguments are the names of its views, `y` (the labels) where it sees labelled images, its columns, and `index` (rows
    of the unlabelled set) where it wants them.

    Laws: before the yield nothing in `state_dict()` changes but BatchNorm statistics; all memory is buffers made in
    `__init__`; never yield inside a `with` block (its effect would leak across the suspension).
    """

    labelled: dict[str, str] = {}
    """view -> recipe, for labelled images"""
    unlabelled: dict[str, str] = {}
    """view -> recipe, for unlabelled images; an instance may leave some out, or change recipes, as its knobs say"""
    columns: tuple[str, ...] = ()
    """what the sidecars add to each unlabelled image: `teacher`, the logits of the teacher (B, classes)

    An instance may leave it out. A round whose class asks for nothing of them has its chosen images among the labelled
    ones, by the teacher's class; one that sees no unlabelled images has the labelled ones alone.
    """

    grows = False
    """Whether a student is to be as large as its teacher, or larger: a smaller one is warned of."""

    online: Branch
    t = 0.0
    """progress of training in [0, 1), written by the engine"""
    chance = inf
    """The loss of a network that guesses, where the step can tell: a run whose loss stays there is stopped."""

    step: Callable[..., Iterator[Tensor]]
    """Yields the loss, a scalar, once. What follows the yield runs after the optimiser's step, without gradient."""

    def before_epoch(self, embed: Callable[[nn.Module], Tensor]) -> Iterable[nn.Parameter]:
        """`embed(network)` gives its outputs (N, dim) for the whole unlabelled set, in its order, on the CPU.

        Returns the parameters that were drawn anew, so that the optimiser forgets what it knew of them.
        """
        return ()

    @property
    def rows(self) -> Tensor | None:
        """Rows of the N unlabelled images that an epoch is drawn from: a buffer (N,), with repeats; None: each once."""
        return None

    @property
    def learned(self) -> Branch:
        """The network that training is for."""
        return self.online

    def forward(self, **views: Tensor) -> Tensor:
        """The step up to its yield, as an ordinary forward, so that `DDP(method)(**views)` works."""
        self.notes: dict[str, Tensor] = {}
        self._rest = self.step(**views)
        return next(self._rest)

    @torch.no_grad()
    def remember(self) -> None:
        """The step after its yield."""
        if next(self._rest, None) is not None:
            raise RuntimeError(f"{type(self).__name__}.step yielded twice")

    def note(self, **scalars: Tensor) -> None:
        """Numbers for the curves. They are not state: nothing may be computed from them."""
        self.notes |= {name: value.detach() for name, value in scalars.items()}

    @classmethod
    def asks(cls) -> set[str]:
        """The arguments of its step."""
        return set(signature(cls.step).parameters) - {"self"}

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "step"):
            return  # what several methods have in common
        sees = {*cls.labelled, *cls.unlabelled, *cls.columns} | ({"y"} if cls.labelled else set())
        asks = cls.asks() - {"index"}
        if sees != asks:
            raise TypeError(f"{cls.__name__} sees {sorted(sees)} but its step asks for {sorted(asks)}")

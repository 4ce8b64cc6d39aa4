"""What of the pseudo-labels has changed since the round before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.label.select import Selection
from pipeline.label.truth import UNKNOWN

FLOWS = 10


def churn(
    guess: Tensor, selection: Selection, before: tuple[Tensor, Selection], true: Tensor, classes: list[str]
) -> dict[str, Any]:
    """guess int64 (N,), and the same of the round before; `true` (N,) as `true_classes` gives it.

    `changed`: share of all guesses that differ. Of the images selected in `both` rounds `both_changed` is the share of
    theirs; `entered` and `left` were selected in one round alone. `flows`: the ten most frequent changes of class, and
    how many images of each were right before and are now. What needs the truth is None without it.
    """
    (earlier, chosen), n = before, len(guess)
    now, then = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    now[selection.rows] = then[chosen.rows] = True
    differ, both = guess != earlier, now & then
    known, was, is_now = true != UNKNOWN, earlier == true, guess == true
    told = bool(known.any())
    moves, counts = torch.unique(earlier[differ] * len(classes) + guess[differ], return_counts=True)
    flows = []
    for place in counts.argsort(descending=True, stable=True)[:FLOWS].tolist():
        a, b = divmod(int(moves[place]), len(classes))
        mine = (earlier == a) & (guess == b)
        right = {"right_before": int((mine & was).sum()), "right_now": int((mine & is_now).sum())} if told else {}
        flows.append({"before": classes[a], "now": classes[b], "n": int(counts[place])} | right)
    return {
        "changed": int(differ.sum()) / n,
        "both": int(both.sum()),
        "both_changed": int((differ & both).sum()) / int(both.sum()) if both.any() else None,
        "entered": int((now & ~then).sum()),
        "left": int((then & ~now).sum()),
        "wrong_to_right": int((is_now & ~was).sum()) if told else None,
        "right_to_wrong": int((was & ~is_now).sum()) if told else None,
        "wrong_to_wrong": int((differ & known & ~was & ~is_now).sum()) if told else None,
        "flows": flows,
    }

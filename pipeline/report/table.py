"""A table in Markdown that also reads well as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]], names: int) -> str:
    """The first `names` columns start at the left, the others, which are numbers, end at the right."""
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    rule = ["-" * w if i < names else f"{'-' * (w - 1)}:" for i, w in enumerate(widths)]
    text = (
        [cell.ljust(w) if i < names else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))]
        for line in (head, rule, *lines)
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in text)

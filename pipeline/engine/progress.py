"""Signs of life: a bar on a terminal, one plain line at intervals elsewhere. On stderr, by the first process alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.engine import ranks
from pipeline.engine.signals import Stop
from pipeline.errors import Preempted

INTERVAL = 10.0


class Report(Protocol):
    def __call__(self, done: int, text: str) -> None: ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Report]:
    """`report(done, text)` may be called as often as one likes."""
    console = Console(stderr=True)
    if ranks.rank() != 0:
        yield lambda done, text: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[text]}"), console=console) as bar:
            task = bar.add_task(what, total=total, text="")
            yield lambda done, text: bar.update(task, completed=done, text=text)
    else:
        with _Lines(what, total, console) as lines:
            yield lines


class _Lines:
    def __init__(self, what: str, total: int, console: Console):
        self.what, self.total, self.console = what, total, console
        self.last, self.said = time.monotonic(), (0, "")

    def __call__(self, done: int, text: str) -> None:
        self.said = done, text
        if time.monotonic() - self.last >= INTERVAL:
            self._print()

    def _print(self) -> None:
        self.last = time.monotonic()
        done, text = self.said
        self.console.print(
            f"{self.what} {done}/{self.total} {text}".rstrip(), highlight=False, markup=False, soft_wrap=True
        )

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self._print()


@contextmanager
def counter(what: str, total: int, stop: Stop) -> Iterator[Report]:
    """`count(done, text)` as `progress` has it. Raises Preempted from there once `stop` is asked."""
    with progress(what, total) as report:

        def count(done: int, text: str) -> None:
            report(done, text)
            if stop.asked:
                raise Preempted(f"{what}: stopped after {done} of {total}; the same command goes on from there")

        yield count

"""SIGTERM asks for a save at the next step boundary; inside DVC the end of the parent asks the same."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1


class Stop:
    """Set by the signal, read by the loop."""

    asked = False


@contextmanager
def listening() -> Iterator[Stop]:
    """While inside, SIGTERM sets `asked` instead of ending the process."""
    stop = Stop()

    def ask(number: int, frame: object) -> None:
        stop.asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies.

    A killed `dvc repro` leaves its stage running, and the next one would start a second writer. Outside DVC a stage may
    well outlive its shell (nohup), so it is left alone there.
    """
    if "DVC_STAGE" in os.environ:
        follow_parent()


def follow_parent(number: int = signal.SIGTERM) -> None:
    """The same wherever this process runs, with any signal: for one that is of no use alone."""
    parent = os.getppid()
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    except (OSError, AttributeError):  # not Linux
        return
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), number)

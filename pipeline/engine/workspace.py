"""The folder of an unfinished run: named by all that defines the run, locked by the process that works in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pipeline import files
from pipeline.engine import ranks
from pipeline.errors import CannotWrite, Locked

PACKAGE = Path(__file__).parents[1]


def fingerprint(**defines: Any) -> str:
    """12 hex digits of the parameters, the inputs' hashes and the code, so that no other run's state is ever resumed.

    The code is every module of ours that this process has loaded by now.
    """
    ours = (module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE.name)
    modules = {getattr(module, "__file__", None) for module in ours}
    code = {str(Path(file).relative_to(PACKAGE)): files.sha256(file) for file in modules if file}
    return hashlib.sha256(files.dumps({"code": code, **defines}).encode()).hexdigest()[:12]


@contextlib.contextmanager
def opened(work: Path, stage: str, mark: str) -> Iterator[Path]:
    """`work/<stage>-<mark>/`, ours alone: the first process of the group holds the lock for all of them.

    Raises Locked (another run is at work there) or CannotWrite, before anything is computed.
    """
    folder = work / f"{stage}-{mark}"
    with contextlib.ExitStack() as held:
        if ranks.rank() == 0:
            try:
                held.enter_context(_locked(folder))
                files.sweep(work, folder.name)
                files.sweep(folder)
            except OSError as error:
                raise CannotWrite(f"{folder}: {error.strerror}; free some space or run elsewhere") from error
        ranks.barrier()
        yield folder


def _locked(folder: Path) -> TextIO:
    """The lock file, held by this process for as long as it is open."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    handle = open(path, "a+")  # noqa: SIM115
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        pid = handle.read().strip()
        handle.close()
        raise Locked(f"{folder}: process {pid} is at work there; wait for it, or stop it") from None
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle.fileno())):
        handle.close()  # it ended, and took the folder with it, between our opening the file and locking it
        return _locked(folder)
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def spent(folder: Path) -> None:
    """The result is published: forget the state, so that `dvc repro --force` really trains again.

    By one rename first: half of a state must never stand where a run looks for one.
    """
    gone = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)

"""Two processes that talk over gloo, for whatever must be the same in one process and in two.

They are started at the first call and then stay: fresh ones, because autograd does not survive a fork where there is a
GPU, and only once, because each imports torch.
"""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from typing import Any


def both(job: Callable, *args: Any) -> list[Any]:
    """What `job(rank, *args)` gives in each process; `job` is found by its name, in a module of the tests."""
    lines = _pair()
    for line in lines:
        line.send_bytes(pickle.dumps((job, args)))
    answers = [pickle.loads(line.recv_bytes()) for line in lines]
    for good, answer in answers:
        assert good, answer
    return [answer for _, answer in answers]


@cache
def _pair() -> list[Connection]:
    context, folder, lines = multiprocessing.get_context("spawn"), tempfile.TemporaryDirectory(), []
    for rank in range(2):
        mine, theirs = context.Pipe()
        context.Process(target=_work, args=(rank, f"file://{folder.name}/meet", theirs), daemon=True).start()
        lines.append(mine)
    atexit.register(folder.cleanup)
    return lines


def _work(rank: int, meet: str, line: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    while True:
        try:
            job, args = pickle.loads(line.recv_bytes())
        except EOFError:
            return
        try:
            answer = True, job(rank, *args)
        except Exception:
            answer = False, traceback.format_exc()
        line.send_bytes(pickle.dumps(answer))

"""The processes of one run: who I am, which part of a batch is mine, what all of us agree on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from pipeline.errors import ParamsError


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def first() -> bool:
    """Whether this is the process that writes, also before there is a group."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Join the process group that torchrun describes in the environment; alone, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=5))
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def part(size: int) -> slice:
    """My rows of a global batch. Raises ParamsError where it cannot be split evenly."""
    each, rest = divmod(size, world())
    if rest:
        raise ParamsError(f"a batch of {size} does not split over {world()} processes; choose a multiple")
    return slice(rank() * each, (rank() + 1) * each)


def agree(everyone: bool, *anyone: bool) -> tuple[bool, ...]:
    """The same answers on every process: the first if it holds for all, each other if it holds for any."""
    if world() == 1:
        return (everyone, *anyone)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    votes = torch.tensor([not everyone, *anyone], dtype=torch.int32, device=device)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    no, *yes = votes.bool().tolist()
    return (not no, *yes)


def barrier() -> None:
    if world() > 1:
        dist.barrier()

"""Two processes under torchrun: the same sidecars as one process, and a trained model."""

import os
import subprocess
import sys
from functools import partial

import pytest

from tests.harness import HERE, World, as_rank, at_step, die, free_port, saved, stage, terminate

pytestmark = pytest.mark.slow


def torchrun(here: World, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    command += [str(free_port()), "-m", "stages.cli", *words]
    return subprocess.run(command, cwd=here.folder, env=environment, capture_output=True, text=True)


def test_label(template, world):
    here = world("label")
    done = torchrun(here, "label", "1")
    assert done.returncode == 0, done.stderr
    assert here.digests("label") == template.digests("label")
    assert here.litter() == []


def test_pretrain(world):
    here = world("simclr")
    done = torchrun(here, "pretrain", "simclr")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("simclr 8/8") == 1, "the first process alone reports"
    assert len(here.digests("simclr")) == 3 and here.litter() == []


def pair(forks, here: World, *second) -> list[int]:
    """The exit codes of two ranks; `second` are hooks of the second alone."""
    port = free_port()
    hooks = [[partial(as_rank, rank, 2, port), *(second if rank else ())] for rank in range(2)]
    children = [forks.start(stage, here.folder, "simclr", hooks=each) for each in hooks]
    return [forks.wait(child) for child in children]


def test_one_rank_is_asked_and_both_stop(forks, world):
    """They agree on the step, save once, and end in the bytes of two that nobody disturbed."""
    whole, here = world("simclr"), world("simclr")
    assert pair(forks, whole) == [0, 0]
    assert pair(forks, here, partial(at_step, 3, terminate)) == [143, 143]
    assert saved(here)[1]["step"] == 4
    assert pair(forks, here) == [0, 0]
    assert here.digests("simclr") == whole.digests("simclr")
    assert here.litter() == []


def test_one_rank_is_killed(forks, world):
    """The other ends too and saves nothing; what was saved before is gone on from."""
    whole, here = world("simclr"), world("simclr")
    assert pair(forks, whole) == [0, 0]
    codes = pair(forks, here, partial(at_step, 3, die))
    assert codes[1] == -9 and codes[0] != 0
    assert saved(here)[1]["step"] == 3
    assert pair(forks, here) == [0, 0]
    assert here.digests("simclr") == whole.digests("simclr")


def test_a_batch_that_does_not_split(world):
    done = torchrun(world("simclr"), "pretrain", "simclr", "-S", "pretrain.simclr.batch=15")
    assert done.returncode != 0
    assert "error: a batch of 15 does not split over 2 processes" in done.stderr

"""Processes under torchrun: the same sidecars as one process, and a trained model."""

import os
import subprocess
import sys
from functools import partial

import pytest

from tests.harness import HERE, World, as_rank, at_step, die, die_after_a_sidecar, free_port, saved, stage, terminate

pytestmark = pytest.mark.slow


def torchrun(here: World, ranks: int, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    command += ["--master-port", str(free_port()), "-m", "stages.cli", *words]
    return subprocess.run(command, cwd=here.folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("ranks", [2, 3])
def test_label(template, world, ranks):
    """The same sidecars and summary as one process makes; of 4 shards, three processes have 2, 1 and 1."""
    here = world("label")
    done = torchrun(here, ranks, "label", "1")
    assert done.returncode == 0, done.stderr
    assert here.digests("label") == template.digests("label")
    assert len(here.digests("label")) == 5 and "labels/1/finetune/summary.json" in here.digests("label")
    assert here.litter() == []


def test_pretrain(world):
    here = world("simclr")
    done = torchrun(here, 2, "pretrain", "simclr")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("simclr 8/8") == 1, "the first process alone reports"
    assert len(here.digests("simclr")) == 3 and here.litter() == []


def pair(forks, here: World, *second, name="simclr") -> list[int]:
    """The exit codes of the two ranks of a stage; `second` are hooks of the second alone."""
    port = free_port()
    hooks = [[partial(as_rank, rank, 2, port), *(second if rank else ())] for rank in range(2)]
    children = [forks.start(stage, here.folder, name, hooks=each) for each in hooks]
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


def test_one_rank_is_killed_while_it_labels(forks, template, world):
    """The other ends too, and nothing is published; one process alone goes on from what the two have finished."""
    here = world("label")
    codes = pair(forks, here, die_after_a_sidecar, name="label")
    assert codes[1] == -9 and codes[0] not in (0, -9)
    assert not (here.data / "labels/1").exists()
    kept = {path.name: path.stat().st_ino for path in here.state().glob("*.safetensors")}
    assert "unlabelled-000001.safetensors" in kept and "unlabelled-000003.safetensors" not in kept
    assert forks.run(stage, here.folder, "label") == 0
    assert here.digests("label") == template.digests("label")
    assert (
        kept.items() <= {path.name: path.stat().st_ino for path in (here.data / "labels/1/finetune").iterdir()}.items()
    )
    assert here.litter() == []


def test_a_batch_that_does_not_split(world):
    done = torchrun(world("simclr"), 2, "pretrain", "simclr", "-S", "pretrain.simclr.batch=15")
    assert done.returncode != 0
    assert "error: a batch of 15 does not split over 2 processes" in done.stderr

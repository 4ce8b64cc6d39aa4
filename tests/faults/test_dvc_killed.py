"""R4: dvc is killed while a stage trains: the stage saves and ends, and the next `dvc repro` goes on from there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness import HERE, World, saved, stage

pytestmark = [pytest.mark.slow, pytest.mark.faults]
GRAPH = """\
stages:
  finetune:
    cmd: {command}
    params: [seed, encoder, finetune]
    deps: [data/shards/labelled, data/shards/unlabelled, data/shards/val, data/models/scratch]
    outs: [data/models/finetune, data/curves/finetune.csv]
"""
STAGE = f"{sys.executable} -m stages.cli finetune"
STEPS = 400


@pytest.fixture
def repository(template, tmp_path) -> World:
    if shutil.which("dvc") is None:
        pytest.skip("dvc is not on the path")
    here = template.copy(tmp_path / "repository", "finetune")
    params = here.folder / "params.yaml"
    params.write_text(params.read_text().replace("supervised, steps: 8", f"supervised, steps: {STEPS}"))
    (here.folder / "dvc.yaml").write_text(GRAPH.format(command=f"exec {STAGE}"))
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=here.folder, check=True)
    return here


def environment() -> dict[str, str]:
    """dash is the shell that stays between DVC and its command where it may; bash never does."""
    paths = {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", "SHELL": "/bin/sh"}
    return os.environ | paths


def repro(here: World) -> subprocess.Popen:
    return subprocess.Popen(
        ["dvc", "repro"],
        cwd=here.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def trainers(here: World) -> list[int]:
    """Stages at work in the repository: not dvc, and not a helper that a stage has forked and that bears its name."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(here.folder) and b"stages.cli" in (process / "cmdline").read_bytes():
                found[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [pid for pid, parent in found.items() if parent not in found]


def wait_for(what, seconds: float) -> float:
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_dvc_killed(forks, template, tmp_path, repository, number, dose):
    for _ in range(dose(1, 5)):
        before = set((repository.data / "work").glob("*/step-*"))
        dvc = repro(repository)
        wait_for(lambda seen=before: set((repository.data / "work").glob("*/step-*")) - seen, 120)
        assert len(trainers(repository)) == 1
        os.kill(dvc.pid, number)
        dvc.wait()
        print(f"the stage ended {wait_for(lambda: not trainers(repository), 20):.2f} s after dvc")
        assert 0 < saved(repository)[1]["step"] < STEPS, "it saved, and did not go on to the end"
    most, again = 0, repro(repository)
    while again.poll() is None:
        most = max(most, len(trainers(repository)))
        time.sleep(0.02)
    assert again.returncode == 0, again.stdout.read()
    assert most == 1, "never two writers"
    whole = template.copy(tmp_path / "whole", "finetune")
    assert forks.run(stage, whole.folder, "finetune", f"finetune.steps={STEPS}") == 0
    assert repository.digests("finetune") == whole.digests("finetune")


@pytest.mark.parametrize(
    "command", [f"exec env -u DVC_STAGE {STAGE}", f"{STAGE}; true"], ids=["not told", "a shell between"]
)
def test_mutants_are_seen(repository, command):
    """A stage that does not hear of the end of DVC goes on without it."""
    (repository.folder / "dvc.yaml").write_text(GRAPH.format(command=command))
    dvc = repro(repository)
    wait_for(lambda: list((repository.data / "work").glob("*/LATEST.json")), 120)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    time.sleep(1.0)
    left = trainers(repository)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(left) == 1

"""R5: one process works in a folder; a second one leaves at once and writes nothing; a dead one does not count."""

import fcntl
import time
from functools import partial
from pathlib import Path

import pytest

from tests.harness import World, at_step, stage

NAMES = ("finetune", "label")


def pause(mark: Path) -> None:
    mark.touch()
    time.sleep(600)


def pause_labelling(mark: Path) -> None:
    from pipeline.label import sidecar

    original = sidecar.write_sidecar

    def write(*args):
        original(*args)
        pause(mark)

    sidecar.write_sidecar = write


@pytest.fixture
def busy(forks, tmp_path):
    """busy(world, name) -> a child that works there and does not end."""

    def start(here: World, name: str):
        mark = tmp_path / f"{here.folder.name}-working"
        hook = partial(pause_labelling, mark) if name == "label" else partial(at_step, 3, partial(pause, mark))
        child = forks.start(stage, here.folder, name, hooks=[hook])
        while not mark.exists():
            time.sleep(0.01)
        return child

    return start


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_second_leaves_and_dead_is_taken_over(forks, template, world, busy, name, dose):
    seconds = []
    for _ in range(dose(1, 5)):
        here = world(name)
        first = busy(here, name)
        before = here.tree()
        for _ in range(dose(3, 5)):
            second = forks.start(stage, here.folder, name)
            assert forks.wait(second) == 75, second.said
            seconds.append(time.monotonic() - second.started)
            assert f"process {first.pid} is at work there" in second.said
        assert here.tree() == before
        first.kill()
        forks.wait(first)
        assert forks.run(stage, here.folder, name) == 0
        assert here.digests(name) == template.digests(name)
        assert here.litter() == []
    assert min(seconds) <= 1.0
    print(f"{name}: {len(seconds)} second processes left after {min(seconds):.2f} to {max(seconds):.2f} s")


def test_other_stages_are_not_held_up(forks, world, busy):
    here = world("finetune")
    first = busy(here, "finetune")
    assert forks.run(stage, here.folder, "simclr") == 0
    first.kill()
    forks.wait(first)


def lock_nothing() -> None:
    fcntl.flock = lambda handle, how: None


def test_mutant_is_seen(forks, world, busy):
    here = world("finetune")
    first = busy(here, "finetune")
    assert forks.run(stage, here.folder, "finetune", hooks=[lock_nothing]) != 75
    first.kill()
    forks.wait(first)

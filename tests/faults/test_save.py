"""R2: the process, or the power, ends at each single thing that a run asks of the disk. The next run makes good."""

import os
import random
from functools import partial
from pathlib import Path

import pytest

from pipeline import files
from tests.harness import TRAINED, die, stage

SETS = {"simclr": "pretrain.simclr.steps=3", "finetune": "finetune.steps=3", "student-1": "distill.steps=3"}
NEVER = 10**9


class Disk:
    """Counts the calls that change the disk, and dies at call number `last`.

    Without power, a file that was not synced loses its second half, and what was renamed or removed since a folder
    was last synced is undone.
    """

    count = 0

    def __init__(self, last: int, power: bool, side: Path):
        self.last, self.power, self.side = last, power, side
        self.unsynced: set[str] = set()
        self.undo: list = []

    def tick(self, act=lambda: None) -> None:
        """`act` is what is done of the call that does not end."""
        self.count += 1
        if self.count == self.last:
            act()
            if self.power:
                for path in self.unsynced:
                    os.truncate(path, os.path.getsize(path) // 2)
                for step in reversed(self.undo):
                    step()
            die()

    def aside(self, path: str) -> str | None:
        if not os.path.isfile(path):
            return None
        keep = str(self.side / f"{os.getpid()}-{self.count}")
        os.link(path, keep)
        return keep


def watch(last: int, power: bool, side: Path) -> None:
    """A hook: every call of `pipeline` that changes the disk goes through a Disk."""
    disk = Disk.now = Disk(last, power, side)
    fsync, replace, rename, unlink, rmdir, mkdir = os.fsync, os.replace, os.rename, os.unlink, os.rmdir, os.mkdir

    def where(path, dir_fd) -> str:
        return os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path) if dir_fd is not None else os.fspath(path)

    def watched_open(path, mode="r"):
        file = open(path, mode)  # noqa: SIM115
        if mode == "wb":
            write, path = file.write, os.path.abspath(path)

            class Watched:
                def __getattr__(self, name):
                    return getattr(file, name)

                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    file.close()

                def write(self, data):
                    disk.unsynced.add(path)
                    disk.tick(lambda: (write(data[: len(data) // 2]), file.flush()))
                    return write(data)

            return Watched()
        return file

    def watched_fsync(handle):
        disk.tick()
        fsync(handle)
        path = os.readlink(f"/proc/self/fd/{handle}")
        disk.unsynced.discard(path)
        if os.path.isdir(path):
            disk.undo.clear()

    def watched_rename(real):
        def call(source, target):
            disk.tick()
            source, target = os.path.abspath(source), os.path.abspath(target)
            keep = disk.aside(target)
            real(source, target)
            disk.unsynced = {target + p.removeprefix(source) if p.startswith(source) else p for p in disk.unsynced}
            disk.undo.append(lambda: (rename(target, source), keep and rename(keep, target)))

        return call

    def watched_unlink(path, *, dir_fd=None):
        disk.tick()
        full = where(path, dir_fd)
        keep = disk.aside(full)
        unlink(path, dir_fd=dir_fd)
        disk.unsynced.discard(full)
        disk.undo.append(lambda: os.link(keep, full))

    def watched_rmdir(path, *, dir_fd=None):
        disk.tick()
        full = where(path, dir_fd)
        rmdir(path, dir_fd=dir_fd)
        disk.undo.append(lambda: mkdir(full))

    files.open = watched_open
    os.fsync, os.replace, os.rename = watched_fsync, watched_rename(replace), watched_rename(rename)
    os.unlink, os.rmdir = watched_unlink, watched_rmdir


def calls(folder: Path, name: str, *sets: str) -> int:
    stage(folder, name, *sets)
    return Disk.now.count


@pytest.fixture
def crash(forks, tmp_path):
    """crash(here, name, last, power, *mutants): end at that call, run again; '' or what is wrong."""
    (tmp_path / "aside").mkdir()

    def run(here, name, last, power, expected, *mutants) -> str:
        trap = partial(watch, last, power, tmp_path / "aside")
        if (code := forks.run(stage, here.folder, name, SETS[name], hooks=[trap, *mutants])) != -9:
            return f"not killed, but {code}"
        again = forks.start(stage, here.folder, name, SETS[name], hooks=mutants)
        if code := forks.wait(again):
            return f"exit code {code}: {again.said}"
        if here.digests(name) != expected:
            return "other bytes"
        return f"left behind: {here.litter()}" if here.litter() else ""

    return run


@pytest.fixture
def whole(forks, world, tmp_path):
    """whole(name) -> (calls that change the disk, digests) of an undisturbed run of three steps."""

    def run(name):
        here = world(name)
        count = forks.call(calls, here.folder, name, SETS[name], hooks=[partial(watch, NEVER, False, tmp_path)])
        return count, here.digests(name)

    return run


@pytest.mark.faults
@pytest.mark.parametrize("name", TRAINED)
def test_end_at_every_call(crash, whole, world, name, dose):
    count, expected = whole(name)
    assert count > 50
    moments = [(last, power) for last in range(1, count + 1) for power in (False, True)]
    for last, power in random.Random(name).sample(moments, dose(4, len(moments))):
        wrong = crash(world(name), name, last, power, expected)
        assert not wrong, f"{name}, call {last} of {count}, {'power lost' if power else 'killed'}: {wrong}"
    print(f"{name}: {dose(4, len(moments))} of {len(moments)} moments")


def write_in_place() -> None:
    def write_bytes(path, data):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with files.open(path, "wb") as file:
            file.write(data)

    files.write_bytes = write_bytes


def write_latest_first() -> None:
    original = files.write_safetensors

    def write(path, tensors, about):
        if path.name.startswith("step-"):
            probe = path.with_name("probe")
            original(probe, tensors, about)
            files.write_json(path.with_name("LATEST.json"), {"file": path.name, "sha256": files.sha256(probe)})
        original(path, tensors, about)

    files.write_safetensors = write


def sync_nothing() -> None:
    os.fsync = lambda handle: None


@pytest.mark.parametrize(
    ("mutant", "power"), [(write_in_place, False), (write_latest_first, False), (sync_nothing, True)]
)
def test_mutants_are_seen(crash, whole, world, mutant, power):
    _, expected = whole("finetune")
    wrong = (crash(world("finetune"), "finetune", last, power, expected, mutant) for last in range(2, 20))
    assert any(wrong)

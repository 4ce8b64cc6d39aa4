"""One run, one folder, one process."""

import fcntl
import os
import shutil
import sys
import types

import pytest

from pipeline import files
from pipeline.engine import workspace
from pipeline.errors import CannotWrite, Locked

MARK = "0123456789ab"


def test_fingerprint_depends_on_all_that_defines_a_run():
    base = {"seed": 1, "shards": {"val": "a"}}
    marks = [base, base | {"seed": 2}, base | {"shards": {"val": "b"}}, base | {"more": None}, {"seed": 1}]
    found = [workspace.fingerprint(**each) for each in marks]
    assert len(set(found)) == len(found) and all(len(mark) == 12 for mark in found)
    assert workspace.fingerprint(**dict(reversed(base.items()))) == found[0]


def test_fingerprint_leaves_packages_of_others_alone(monkeypatch):
    before = workspace.fingerprint(a=1)
    stranger = types.ModuleType("pipelines_of_others")
    stranger.__file__ = os.__file__
    monkeypatch.setitem(sys.modules, "pipelines_of_others", stranger)
    assert workspace.fingerprint(a=1) == before


def test_locked_while_open_and_free_after(tmp_path):
    with workspace.opened(tmp_path, "simclr", MARK) as folder:
        assert folder == tmp_path / f"simclr-{MARK}"
        with (
            pytest.raises(Locked, match=f"process {os.getpid()} is at work"),
            workspace.opened(tmp_path, "simclr", MARK),
        ):
            pass
        with workspace.opened(tmp_path, "simclr", MARK[::-1]) as other:
            assert other != folder
    with workspace.opened(tmp_path, "simclr", MARK):
        pass


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    folder = tmp_path / f"simclr-{MARK}"
    folder.mkdir()
    (folder / "lock").write_text("999999999")
    (folder / ".LATEST.json.tmp-999999999").write_text("half")
    with workspace.opened(tmp_path, "simclr", MARK):
        assert (folder / "lock").read_text() == str(os.getpid())
        assert [path.name for path in folder.iterdir()] == ["lock"]


def test_lock_on_a_folder_that_is_gone_does_not_count(tmp_path, monkeypatch):
    """The first run ends, and removes its folder, between the second's opening the lock file and locking it."""
    flock, turn = fcntl.flock, iter(range(9))

    def late(handle, how):
        if next(turn) == 0:
            workspace.spent(tmp_path / f"simclr-{MARK}")
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with workspace.opened(tmp_path, "simclr", MARK) as folder:
        assert (folder / "lock").read_text() == str(os.getpid())
        monkeypatch.undo()
        with pytest.raises(Locked), workspace.opened(tmp_path, "simclr", MARK):
            pass


def test_spent_leaves_nothing_or_all_when_killed(tmp_path, monkeypatch):
    with workspace.opened(tmp_path, "simclr", MARK) as folder:
        files.write_json(folder / "LATEST.json", {})
        monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: None)  # killed before anything is removed
        workspace.spent(folder)
        assert not folder.exists()
    monkeypatch.undo()
    (gone,) = tmp_path.iterdir()
    gone.rename(gone.with_name(f".simclr-{MARK}.tmp-999999999"))
    with workspace.opened(tmp_path, "simclr", MARK) as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_cannot_be_made(tmp_path):
    (tmp_path / "work").write_text("")
    with pytest.raises(CannotWrite, match="work/simclr"), workspace.opened(tmp_path / "work", "simclr", MARK):
        pass

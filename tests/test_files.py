"""Files are whole or absent."""

import os
import subprocess
import sys

import pytest
import torch

from pipeline import files
from pipeline.errors import BadData, CannotWrite


@pytest.fixture
def dead() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_is_the_same_bytes_for_equal_values(tmp_path):
    files.write_json(tmp_path / "a", {"b": [1, 2.5], "a": None})
    files.write_json(tmp_path / "b", {"a": None, "b": [1, 2.5]})
    assert (
        (tmp_path / "a").read_bytes()
        == (tmp_path / "b").read_bytes()
        == b'{\n "a": null,\n "b": [\n  1,\n  2.5\n ]\n}\n'
    )
    assert files.read_json(tmp_path / "a") == {"a": None, "b": [1, 2.5]}
    with pytest.raises(ValueError):
        files.dumps(float("nan"))


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 100_000], ids=["cut", "not UTF-8", "deep"])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / "page.json").write_bytes(text)
    with pytest.raises(BadData, match=r"page\.json"):
        files.read_json(tmp_path / "page.json")


def test_missing_files_say_so(tmp_path):
    for read in (files.read_json, files.read_safetensors):
        with pytest.raises(BadData, match="no such file; run the stage"):
            read(tmp_path / "absent")


def test_csv_has_the_columns_of_all_rows(tmp_path):
    files.write_csv(tmp_path / "curve.csv", [{"step": 0, "loss": 1.5}, {"step": 1, "loss": 1.0, "knn": 0.25}])
    assert (tmp_path / "curve.csv").read_text() == "step,loss,knn\n0,1.5,\n1,1.0,0.25\n"


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    files.write_bytes(path, b"old")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and names(path.parent) == ["file"]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match=r"file: cannot write 1,234 bytes: No space left"):
        files.write_bytes(path, bytes(1234))
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


def test_synced_before_renamed_and_the_folder_after(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda h: (order.append(os.path.isdir(f"/proc/self/fd/{h}")), fsync(h)))
    monkeypatch.setattr(os, "replace", lambda *a: (order.append("rename"), replace(*a)))
    files.write_bytes(tmp_path / "file", b"x")
    assert order == [False, "rename", True]


def test_orphans_of_the_dead_are_swept_and_others_left(tmp_path, dead):
    (tmp_path / f".file.tmp-{dead}").write_bytes(b"half")
    (tmp_path / f".file.tmp-{os.getppid()}").write_bytes(b"at work")
    (tmp_path / f".other.tmp-{dead}").mkdir()
    files.write_bytes(tmp_path / "file", b"x")
    assert names(tmp_path) == sorted(["file", f".file.tmp-{os.getppid()}", f".other.tmp-{dead}"])
    files.sweep(tmp_path)
    assert names(tmp_path) == sorted(["file", f".file.tmp-{os.getppid()}"])


def fill(path, text):
    with files.publish(path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "page").write_text(text)
        assert not path.exists() or (path / "deep" / "page").read_text() != text


def test_publish_appears_at_once_and_replaces(tmp_path, dead):
    (tmp_path / f".model.tmp-{dead}").mkdir()
    (tmp_path / f".model.tmp-old-{dead}").mkdir()
    fill(tmp_path / "model", "one")
    fill(tmp_path / "model", "two")
    assert (tmp_path / "model" / "deep" / "page").read_text() == "two" and names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_publish_that_fails_changes_nothing(tmp_path, error):
    fill(tmp_path / "model", "one")
    with pytest.raises(type(error)), files.publish(tmp_path / "model") as folder:
        (folder / "page").write_text("half")
        raise error
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["deep"]


def test_publish_says_what_the_disk_did_not_take(tmp_path):
    with (
        pytest.raises(CannotWrite, match=r"model: cannot write more than 5 bytes: No space"),
        files.publish(tmp_path / "model") as folder,
    ):
        (folder / "page").write_text("12345")
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_publish_never_shows_half_of_the_old(tmp_path, monkeypatch):
    """Killed anywhere, there is the old folder, the new one or none, but not a part of one."""
    fill(tmp_path / "model", "one")
    seen, model = [], tmp_path / "model"

    def look(call):
        def looking(*args, **how):
            call(*args, **how)
            seen.append(names(model) if model.exists() else None)

        return looking

    for name in ("rename", "unlink", "rmdir", "fsync"):
        monkeypatch.setattr(os, name, look(getattr(os, name)))
    with files.publish(model) as folder:
        (folder / "page").write_text("two")
    assert all(each in (["deep"], None, ["page"]) for each in seen)
    assert seen[0] == ["deep"] and seen[-1] == ["page"] and seen.count(None) == 1


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(CannotWrite, match="data"):
        files.write_bytes(tmp_path / "data" / "file", b"x")
    with pytest.raises(CannotWrite, match="data"), files.publish(tmp_path / "data" / "model"):
        pass


def test_safetensors_round_trip_and_same_bytes(tmp_path):
    tensors = {"b": torch.arange(6.0).reshape(2, 3).t(), "a": torch.tensor(7), "h": torch.ones(3, dtype=torch.bfloat16)}
    about = {"z": 1, "a": {"list": [1, "two"]}}
    for name in ("one", "two"):
        files.write_safetensors(tmp_path / name, dict(reversed(tensors.items())) if name == "two" else tensors, about)
    assert files.sha256(tmp_path / "one") == files.sha256(tmp_path / "two")
    got, says = files.read_safetensors(tmp_path / "one")
    assert says == about and got.keys() == tensors.keys()
    assert all(torch.equal(got[name], value) and got[name].dtype == value.dtype for name, value in tensors.items())

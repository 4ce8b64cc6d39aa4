"""What a skipped round leaves in the place of a student."""

import json

import pytest

from pipeline.engine.hand_on import hand_on


@pytest.fixture
def root(tmp_path):
    (tmp_path / "models" / "finetune").mkdir(parents=True)
    (tmp_path / "curves").mkdir()
    (tmp_path / "times").mkdir()
    (tmp_path / "models" / "finetune" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "models" / "finetune" / "model.json").write_text('{"stage": "finetune", "parameters": 7}')
    return tmp_path


def test_the_teacher_goes_on_under_another_name_and_says_why(root):
    hand_on("finetune", "student-2", "no gain", root)
    made = root / "models" / "student-2"
    assert (made / "model.safetensors").read_bytes() == b"weights"
    page = {"stage": "student-2", "parameters": 7, "skipped": "no gain"}
    assert json.loads((made / "model.json").read_text()) == page
    assert json.loads((root / "times" / "student-2.json").read_text())["seconds"] == 0
    assert (root / "curves" / "student-2.csv").exists()


def test_of_several_processes_one_writes(root, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    hand_on("finetune", "student-2", "no gain", root)
    assert not (root / "models" / "student-2").exists()
    monkeypatch.setenv("RANK", "0")
    hand_on("finetune", "student-2", "no gain", root)
    assert (root / "models" / "student-2").exists()

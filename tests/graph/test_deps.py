"""dvc.yaml says truly what each stage depends on."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.graph.closure import ROOT, closure

GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in GRAPH.items()}
SCANS = {"scan", "scan-more"}  # they run always
TRAINS_OR_LABELS = {"scratch", "pretrain", "finetune", "baseline", "label", "distill"}


def paths(stage: dict, key: str) -> list[str]:
    entries = [next(iter(e)) if isinstance(e, dict) else e for e in stage.get(key, [])]
    return [re.sub(r"\$\{.*?\}", "*", entry) for entry in entries]


def code(stage: dict) -> set[Path]:
    """The files of ours among a stage's deps; a folder stands for all in it."""
    named = [path for dep in paths(stage, "deps") if not dep.startswith("data/") for path in ROOT.glob(dep)]
    files = [file for path in named for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return {file.relative_to(ROOT) for file in files}


def needed(stage: dict) -> set[Path]:
    """What the stage imports.

    Not what reads and checks params.yaml: DVC tracks the values themselves; but the defaults in params.py are values.
    """
    command = re.match(r"exec ssl-pipe ([a-z]+)", stage["cmd"])
    assert command
    entries = [
        ROOT / "stages" / f"{command[1]}.py",
        *(ROOT / file for file in code(stage) if file.match("methods/*/*.py")),
    ]
    return closure(*entries, without=ROOT / "stages/command.py") | {Path("pipeline/params.py")}


def overlap(one: str, other: str) -> bool:
    """Whether one path is the other, or holds it."""
    return (one + "/").startswith(other + "/") or (other + "/").startswith(one + "/")


def outs(stage: dict) -> list[str]:
    return [path for key in ("outs", "metrics", "plots") for path in paths(stage, key)]


def upstream(name: str) -> set[str]:
    """The stages whose outputs `name` depends on, at any depth; `*` stands for any name, so rounds are one stage."""
    found, todo = set(), [name]
    while todo:
        for dep in paths(STAGES[todo.pop()], "deps"):
            makers = {
                maker
                for maker, stage in STAGES.items()
                if any(fnmatch(dep, out) or fnmatch(out, dep) or overlap(dep, out) for out in outs(stage))
            }
            todo += makers - found
            found |= makers
    return found


@pytest.mark.parametrize("name", sorted(set(STAGES) - SCANS))
def test_deps_hold_the_import_closure(name: str) -> None:
    assert needed(STAGES[name]) - code(STAGES[name]) == set()


@pytest.mark.parametrize("name", sorted(set(STAGES) - SCANS))
def test_no_single_file_is_listed_that_is_not_imported(name: str) -> None:
    """An edit re-runs only what uses the file; folders are listed where a stage uses nearly all of them."""
    listed = {Path(dep) for dep in paths(STAGES[name], "deps") if dep.endswith(".py") and "*" not in dep}
    assert listed - needed(STAGES[name]) == set()


@pytest.mark.parametrize("hidden", ["data/shards/test", "data/truth"])
@pytest.mark.parametrize("name", sorted(TRAINS_OR_LABELS))
def test_what_learns_never_sees_the_test_images_or_the_hidden_labels(name: str, hidden: str) -> None:
    for stage in {name, *upstream(name)} - {"prepare", *SCANS}:  # `prepare` draws the splits, and writes both apart
        assert not any(overlap(dep, hidden) for dep in paths(STAGES[stage], "deps")), stage


def test_that_test_can_fail() -> None:
    readers = {name for name in STAGES if any(overlap(d, "data/shards/test") for d in paths(STAGES[name], "deps"))}
    assert readers == {"probe", "probe-scratch", "evaluate", "evaluate-student", "robustness", "robustness-student"}
    assert "pretrain" in upstream("distill") and "evaluate" in upstream("report")

"""R7: a run whose parameters, inputs or code have changed never goes on from the state of another."""

import itertools
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from torch import Tensor

from pipeline import files
from pipeline.engine import workspace
from pipeline.label.select import Selection
from tests.harness import at_step, shards, stage, terminate

SETS = """
seed=4 encoder.drop=0.2 encoder.drop_path=0.2 encoder.args.width=8 finetune.steps=9 finetune.batch=4 finetune.ratio=2
finetune.optimiser.name=adamw finetune.optimiser.lr=0.06 finetune.optimiser.weight_decay=0.0
finetune.optimiser.momentum=0.8 finetune.optimiser.layer_decay=0.9 finetune.schedule.name=constant
finetune.schedule.name=fixmatch finetune.schedule.warmup=0.1 finetune.precision=bf16 finetune.views.x=flip
finetune.knobs.ema=0.9 finetune.knobs.smoothing=0.1 finetune.monitors=3 finetune.frozen=true finetune.from=simclr
finetune.encoder.name=tiny finetune.encoder.args.width=5
""".split()  # noqa: SIM905 - a table
SAME = ["runtime.workers=2", "runtime.checkpoint=5.0", "runtime.memory=2.0"]


class Found(Exception):
    pass


def mark(folder: Path, *sets: str, name: str = "finetune") -> str:
    """The fingerprint with which the stage that makes `name` would open its folder."""

    def opened(work: Path, name: str, mark: str):
        raise Found(mark)

    workspace.opened = opened
    try:
        stage(folder, name, *sets)
    except Found as found:
        return str(found)
    raise AssertionError("no folder was asked for")


def marks_of_params(folder: Path, many: list[str]) -> list[str]:
    return [mark(folder, *([one] if one else [])) for one in many]


def marks_of_inputs(folder: Path) -> list[str]:
    """Another image in each split, another start, in turn; the last is the first again."""
    data, found = folder / "data", [mark(folder)]
    for split in ("labelled", "unlabelled", "val"):
        shutil.copytree(data / "shards", folder / "kept")
        shards(folder / "other", seed=1)
        shutil.rmtree(data / "shards" / split)
        shutil.move(folder / "other" / split, data / "shards" / split)
        found.append(mark(folder))
        shutil.rmtree(data / "shards")
        shutil.rmtree(folder / "other")
        shutil.move(folder / "kept", data / "shards")
    start = data / "models" / "scratch" / "model.json"
    files.write_json(start, files.read_json(start) | {"weights_sha256": "0" * 64})
    return [*found, mark(folder)]


def marks_of_pseudo_labels(folder: Path) -> list[str]:
    """As they are, with another class for one image, and with one image less; then as they are."""
    original, found = Selection.pseudo, []
    for change in (None, 3, -1, None):

        def pseudo(self: Selection, guess: Tensor, change: int | None = change) -> Tensor:
            labels = original(self, guess)
            if change is not None:
                labels[(labels == 0).nonzero()[0]] = change
            return labels

        Selection.pseudo = pseudo
        found.append(mark(folder, "rounds.1.method=self_training", name="student-1"))
    return found


def marks_of_code(folder: Path) -> list[str]:
    """The program copied, and a comment added to each file that is loaded, in turn."""
    copy = folder / "pipeline"
    shutil.copytree(workspace.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    loaded = []
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "pipeline" and getattr(module, "__file__", None):
            module.__file__ = str(copy / Path(module.__file__).relative_to(workspace.PACKAGE))
            loaded.append(Path(module.__file__))
    workspace.PACKAGE = copy
    found = [mark(folder)]
    for path in loaded:
        text = path.read_text()
        path.write_text(text + "# edited\n")
        found.append(mark(folder))
        path.write_text(text)
    assert mark(folder) == found[0]
    return found


def test_params(forks, world):
    here = world("finetune").folder
    found = forks.call(marks_of_params, here, ["", *SETS])
    assert len(found) == 1 + len(SETS) >= 22
    assert [SETS[i - 1] for i in range(1, len(found)) if found[i] in found[:i]] == []
    assert set(forks.call(marks_of_params, here, SAME)) == {found[0]}, "runtime changes the speed, not the result"


def test_inputs(forks, world):
    found = forks.call(marks_of_inputs, world("finetune").folder)
    assert len(set(found)) == len(found) == 5


def test_pseudo_labels(forks, world):
    *found, again = forks.call(marks_of_pseudo_labels, world("student-1").folder)
    assert len(set(found)) == len(found) == 3 and again == found[0]


def test_code(forks, world):
    found = forks.call(marks_of_code, world("finetune").folder)
    assert len(set(found)) == len(found) > 40


def one_mark_for_all() -> None:
    workspace.fingerprint = lambda **defines: "0" * 12


def no_code() -> None:
    original = workspace.fingerprint

    def fingerprint(**defines):
        kept, sys.modules = sys.modules, {}
        try:
            return original(**defines)
        finally:
            sys.modules = kept

    workspace.fingerprint = fingerprint


def changed(forks, world, sets: str, *hooks) -> bool:
    """Whether an interrupted run changes what a run with other parameters makes in the same place."""
    here, fresh = world("finetune"), world("finetune")
    assert forks.run(stage, here.folder, "finetune", hooks=[partial(at_step, 4, terminate), *hooks]) == 143
    assert forks.run(stage, here.folder, "finetune", sets, hooks=hooks) == 0
    assert forks.run(stage, fresh.folder, "finetune", sets, hooks=hooks) == 0
    return here.digests("finetune") != fresh.digests("finetune")


@pytest.mark.faults
def test_no_stale_resume(forks, world, dose):
    for sets in itertools.islice([s for s in SETS if "simclr" not in s], dose(1, 50)):
        assert not changed(forks, world, sets), sets


def test_mutants_are_seen(forks, world):
    assert changed(forks, world, "finetune.optimiser.lr=0.5", one_mark_for_all)
    found = forks.call(marks_of_code, world("finetune").folder, hooks=[no_code])
    assert len(set(found)) == 1

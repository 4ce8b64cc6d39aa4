"""The graph, really run by DVC: what runs again after which change, and what does not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid import Grid
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from pipeline.data.shards import ShardSet
from tests.graph.project import ALWAYS, QUICK, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STUDENT_2 = {"distill@2", "evaluate-student@2", "robustness-student@2", "audit", "report"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Run through once; the tests below go on from one another's state, and each leaves it as it found it."""
    made = Project.copied(tmp_path_factory.mktemp("project"))
    assert "report" in made.repro()
    made.commit()
    yield made


def test_nothing_changed_nothing_runs(project: Project) -> None:
    assert project.repro() == set()
    project.set(runtime__memory=2.0)
    assert project.repro() == set()
    project.set(runtime__memory=4.0)


def test_a_parameter_of_round_2_runs_round_2_and_the_report(project: Project) -> None:
    project.set(rounds__2__distill={"steps": 3})
    assert project.repro() == STUDENT_2
    project.set(rounds__2__distill={})
    ran, cached = project.restored()
    assert ran == set(), "the old results come back from the cache of runs"
    assert "distill@2" in cached


def test_a_new_round_runs_its_own_stages(project: Project) -> None:
    rounds = YAML().load(project.folder / "params.yaml")["rounds"]
    third = {"teacher": "student-2", "from": "scratch", "method": "self_training", "label": {}, "distill": {}}
    project.set(rounds=rounds | {"3": third})
    students = {f"{stage}-student@3" for stage in ("evaluate", "robustness")}
    assert project.repro() == {"label@3", "distill@3", *students, "audit", "report"}
    method = project.folder / "pipeline/methods/distill/self_training.py"
    text = method.read_text()
    method.write_text(text + "\n# another line\n")
    assert {"distill@3"} <= project.repro() <= {"distill@3", "report"}, "a round depends on its own method"
    method.write_text(text)
    project.set(rounds=rounds)
    project.repro()


def test_labels_that_a_person_gave_are_a_dependency(tmp_path: Path) -> None:
    """Of `prepare`, by what the file says and not by its time."""
    project, table = Project.copied(tmp_path), tmp_path / "given.csv"
    project.repro("prepare")
    drawn = ShardSet.open(tmp_path / "data" / "shards" / "labelled")
    lines = ["key,label", *(f"{key},{label}" for key, label in zip(drawn.keys, drawn.labels, strict=True))]
    table.write_text("\n".join(lines) + "\n")
    project.set(data__labels="given.csv", data__labels_per_class=None)
    assert project.repro("prepare") == {"prepare"}
    table.write_text("\n".join(lines) + "\n")
    assert project.repro("prepare") == set()
    table.write_text("\n".join(lines[:-1]) + "\n")
    assert project.repro("prepare") == {"prepare"}
    assert len((tmp_path / "data/shards/labelled/keys.txt").read_text().splitlines()) == len(lines) - 2 == 39


def test_the_file_of_an_unused_method_runs_nothing(project: Project) -> None:
    other = project.folder / "pipeline/methods/pretext/other.py"
    other.write_text((project.folder / "pipeline/methods/pretext/simclr.py").read_text())
    assert project.repro() == set()
    other.write_text(other.read_text() + "\n# another line\n")
    assert project.repro() == set()
    other.unlink()


def test_the_file_of_a_used_method_runs_its_users(project: Project) -> None:
    """That the test above can fail. Weights that come out the same run nothing further."""
    used = project.folder / "pipeline/methods/distill/noisy_student.py"
    text = used.read_text()
    used.write_text(text + "\n# another line\n")
    assert {"distill@1", "distill@2"} <= project.repro() <= {"distill@1", "distill@2", "report"}
    used.write_text(text)
    project.repro()


def test_experiments(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run -S`, and a grid in the queue."""
    project.commit()
    said = project.call("dvc", "exp", "run", "-n", "one", "-S", "+rounds.2.distill.steps=6")
    assert set(re.findall(r"Running stage '([^']+)'", said)) - ALWAYS >= {"distill@2", "report"}
    project.call("git", "checkout", "-q", ".")
    project.call("dvc", "checkout", "-q")
    row = {"rounds": {"2": {"distill": {"steps": 4, "views": {"x": "affine(10, .1)|cutout(.4)"}}}}}
    grid = Grid(project.folder / "length.yaml", "params.yaml", {"4": row})
    monkeypatch.chdir(project.folder)
    project.call(*grid.command("4", []))
    project.call("dvc", "queue", "start", "-j", "1")
    for _ in range(60):
        status = project.call("dvc", "queue", "status")
        if "Queued" not in status and "Running" not in status:
            break
        project.call("sleep", "5")
    assert status.count("Success") == 1, status
    table = project.call("dvc", "exp", "show", "--csv", "--only-changed").splitlines()
    shown = [dict(zip(table[0].split(","), row.split(","), strict=False)) for row in table[1:]]
    assert {"4", "6"} <= {row["rounds.2.distill.steps"] for row in shown} and "top1" in table[0]
    assert {"length-4", "one"} <= {row["Experiment"] for row in shown}


def test_without_git(project: Project, tmp_path: Path) -> None:
    """The same graph in a plain folder, with the cache of runs brought along so that it need not train again."""
    for name in ("pipeline", "stages", "dvc.yaml", "params.yaml", ".dvcignore"):
        source = project.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    plain = Project(tmp_path)
    plain.call("dvc", "init", "--no-scm", "-q")
    shutil.copytree(project.folder / ".dvc" / "cache", tmp_path / ".dvc" / "cache", dirs_exist_ok=True)
    plain.repro()
    assert (tmp_path / "data" / "report.html").exists()
    assert "top1" in plain.call("dvc", "metrics", "show")


def test_runs_build_on_one_another_and_on_other_images(project: Project) -> None:
    """The chain is cached link by link; further images run what learns from them, and nothing else."""
    path, web = project.folder / "params.yaml", project.folder / "web"
    before = path.read_text()
    for row, pixels in enumerate(load_digits().images[:60]):
        (web / str(row % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype("uint8")).save(web / str(row % 2) / f"{row}.png")
    project.set(more={"web": str(web)})
    chain = {
        "web": QUICK | {"method": "simclr", "images": "web"},
        "own": QUICK | {"method": "simclr", "from": "web"},
        "small": QUICK | {"method": "clusterfit", "from": "own", "knobs": {"k": 10}, "encoder": {"name": "tiny"}},
    }
    project.set(pretrain=YAML().load(path)["pretrain"] | chain)
    links = [{f"pretrain@{name}", f"probe@{name}"} for name in chain]
    assert project.repro() == {"prepare-more@web", *set().union(*links), "report"}
    project.set(pretrain__own__steps=3)
    assert project.repro() == links[1] | links[2] | {"report"}
    (web / "1" / "1.png").unlink()
    assert project.repro("pretrain") == {"prepare-more@web", "pretrain@web", "pretrain@own", "pretrain@small"}
    path.write_text(before)
    project.repro()


def test_a_further_teacher_runs_its_labels_and_what_learns_from_them(project: Project) -> None:
    before = (project.folder / "params.yaml").read_text()
    project.repro()
    after = {"distill@2", "evaluate-student@2", "robustness-student@2", "audit", "report"}
    project.set(teachers={"beside": {"round": "2", "teacher": "baseline", "label": {"views": ["plain", "flip(1)"]}}})
    assert project.repro() == {"label-teacher@beside"} | after
    assert (project.folder / "data/labels/2/baseline/summary.json").exists()
    (project.folder / "params.yaml").write_text(before)
    ran, cached = project.restored()
    assert ran <= {"report"} and "distill@2" in cached, "as it was before"
    assert not (project.folder / "data/labels/2/baseline").exists()

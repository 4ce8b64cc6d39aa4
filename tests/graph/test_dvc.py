"""The graph, really run by DVC: what runs again after which change, and what does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from pipeline import catalogue
from tests.graph.closure import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STUDENT_2 = {"distill@2", "evaluate-student@2", "audit", "report"}
ALWAYS = {"scan", "scan-more@web"}
QUICK = {"from": "scratch", "images": "unlabelled", "monitors": 1, "steps": 2, "batch": 32, "optimiser": {"lr": 0.001}}


class Project:
    """A copy of this project with a tiny configuration, in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    def call(self, *words: str, check: bool = True) -> str:
        bin_ = str(Path(sys.executable).parent)
        env = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def repro(self, *words: str) -> set[str]:
        """The stages that ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.call("dvc", "repro", *words))) - ALWAYS

    def restored(self, *words: str) -> tuple[set[str], set[str]]:
        """The stages that ran, and those whose results came from the cache of runs."""
        said = self.call("dvc", "repro", *words)
        ran, cached = (set(re.findall(p, said)) for p in (r"Running stage '([^']+)'", r"Stage '([^']+)' is cached"))
        return ran - ALWAYS, cached

    def set(self, **changes: object) -> None:
        """`a__b=1` sets a.b in params.yaml."""
        path = self.folder / "params.yaml"
        yaml = YAML()
        params = yaml.load(path)
        for key, value in changes.items():
            *sections, last = key.split("__")
            place = params
            for section in sections:
                place = place[section]
            place[last] = json.loads(json.dumps(value))  # no object twice: YAML would write an alias
        yaml.dump(params, path)

    def commit(self) -> None:
        self.call("git", "add", "-A")
        self.call("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "state")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Run through once; the tests below go on from one another's state, and each leaves it as it found it."""
    folder = tmp_path_factory.mktemp("project")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if not name.startswith(("tests/", "benchmarks/", "docs/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    made = Project(folder)
    made.call("git", "init", "-q")
    quick = {"steps": 2, "monitors": 1}
    for section in ("pretrain__simclr", "finetune", "distill"):
        made.set(**{f"{section}__{key}": value for key, value in quick.items()})
    made.set(pretrain__simclr__batch=16, finetune__batch=8, distill__batch=8, distill__ratio=1)
    made.set(encoder={"name": "tiny", "args": {"width": 4}}, distill__select={"threshold": 0.0})
    made.commit()
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
    third = {"teacher": "student-2", "from": "scratch", "method": "noisy_student", "label": {}, "distill": {}}
    project.set(rounds=rounds | {"3": third})
    assert project.repro() == {"label@3", "distill@3", "evaluate-student@3", "audit", "report"}
    project.set(rounds=rounds)
    project.repro()


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


def test_experiments(project: Project) -> None:
    """`dvc exp run -S`, and a grid in the queue."""
    project.commit()
    said = project.call("dvc", "exp", "run", "-n", "one", "-S", "+rounds.2.distill.steps=6")
    assert set(re.findall(r"Running stage '([^']+)'", said)) - ALWAYS >= {"distill@2", "report"}
    project.call("git", "checkout", "-q", ".")
    project.call("dvc", "checkout", "-q")
    project.call("dvc", "exp", "run", "--queue", "-S", "+rounds.2.distill.steps=4,5")
    project.call("dvc", "queue", "start", "-j", "1")
    for _ in range(60):
        status = project.call("dvc", "queue", "status")
        if "Queued" not in status and "Running" not in status:
            break
        project.call("sleep", "5")
    assert status.count("Success") == 2, status
    table = project.call("dvc", "exp", "show", "--csv", "--only-changed")
    column = table.splitlines()[0].split(",").index("rounds.2.distill.steps")
    assert {"4", "5", "6"} <= {row.split(",")[column] for row in table.splitlines()[1:]} and "top1" in table


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


def test_every_pretext_method_is_a_run_of_the_graph(project: Project) -> None:
    """Each as a named run with a probe of its own, in colour, which some predict; and the chains of the papers."""
    from tests.contract.small_task import NEEDS, SMALL

    path = project.folder / "params.yaml"
    before, runs = path.read_text(), {}
    builds_on = {"beit": "dvae", "clusterfit": "rotation", "jigsaw_fit": "jigsaw_pp"}
    pretext = {entry.name: entry for entry in catalogue.entries() if entry.family == "pretext"}
    for name, entry in {**pretext, "jigsaw_fit": pretext["clusterfit"]}.items():
        views = dict.fromkeys(entry.unlabelled, "affine(10, .1)")
        encoder = {"name": "tiny", "args": {"width": 4}} | NEEDS.get(name, {})
        runs[name] = QUICK | {"method": entry.name, "from": builds_on.get(name, "scratch"), "views": views}
        runs[name] |= {"knobs": SMALL.get(entry.name, {}), "encoder": encoder}
    project.set(pretrain=runs, data__channels=3)
    assert project.repro() >= {f"{stage}@{name}" for stage in ("pretrain", "probe") for name in runs} | {"report"}
    path.write_text(before)
    project.repro()


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
    assert project.repro() >= {"prepare-more@web", "pretrain@web", "pretrain@own", "pretrain@small"}
    path.write_text(before)
    project.repro()

"""`ssl-pipe report`: the browser that it opens, and the commit that it looks back at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import files
from pipeline.errors import ParamsError
from stages.cli import app
from stages.command import read
from stages.past import head, repeats
from tests.params_files import DEFAULT

SCORES = Path("data/scores")


@pytest.fixture
def project(tmp_path, monkeypatch):
    pytest.importorskip("dvc.repo")  # now, for its log goes where stderr is when it is imported
    (tmp_path / "params.yaml").write_text(DEFAULT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_open_shows_the_page_once_it_is_there(project, monkeypatch):
    shown = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append((address, Path("data/report.html").exists())))
    monkeypatch.setattr("pipeline.report.build", lambda root, *_: files.write_bytes(root / "report.html", b"page"))
    assert CliRunner().invoke(app, ["report"]).exit_code == 0 and not shown
    assert CliRunner().invoke(app, ["report", "--open"]).exit_code == 0
    assert shown == [((project / "data" / "report.html").as_uri(), True)]
    error = CliRunner().invoke(app, ["report", "--open", "--markdown"]).exception
    assert isinstance(error, ParamsError) and len(shown) == 1


def git(*words):
    who = {f"GIT_{part}_{what}": "t@t.t" for part in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = {"GIT_COMMITTER_DATE": "2026-03-01T23:30:00 -0500"}
    done = subprocess.run(["git", *words], check=True, capture_output=True, text=True, env=os.environ | who | when)
    return done.stdout.strip()


def dvc(*words):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["dvc", *words], capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr


def write(name, top1):
    files.write_json(SCORES / name / "metrics.json", {"top1": top1})
    files.write_csv(SCORES / name / "confusion.csv", [{"actual": "a", "predicted": "b"}])


STAGES = """
stages:
  evaluate:
    foreach: [one, two]
    do:
      cmd: "true"
      metrics: ["data/scores/${item}/metrics.json"]
      plots: ["data/scores/${item}/confusion.csv", "data/scores/${item}/risk.csv"]
"""


@pytest.mark.slow
def test_the_past_is_what_dvc_had_at_the_last_commit(project):
    """Not what lies in the folder; without Git, or a commit, or a file in the cache, there is so much less of it."""
    from dvc.repo import Repo

    assert head(SCORES) is None, "nothing at all"
    Path("dvc.yaml").write_text(STAGES)
    for name, top1 in (("one", 0.25), ("two", 0.5)):
        write(name, top1)
        files.write_csv(SCORES / name / "risk.csv", [{"coverage": 1}])
    with Repo.init(no_scm=True) as repo:
        repo.commit(force=True)
    assert head(SCORES) is None, "no Git"
    Path(".dvc/config").unlink()
    git("init", "-q")
    Path(".gitignore").write_text("/data/\n")
    assert head(SCORES) is None, "no commit"
    git("add", "-A")
    git("commit", "-qm", "one")
    first = git("rev-parse", "--short=7", "HEAD")
    write("one", 0.75)
    found = head(SCORES)
    assert (found.commit, found.date) == (first, "2026-03-01")
    assert {name: list(each) for name, each in found.files.items()} == {
        "one": ["metrics.json", "confusion.csv"],
        "two": ["metrics.json", "confusion.csv"],
    }
    assert '"top1": 0.25' in found.files["one"]["metrics.json"], "as committed"
    with Repo() as repo:
        repo.commit(force=True)
    assert head(SCORES) == found, "DVC has new numbers, but no commit has"
    git("add", "-A")
    git("commit", "-qm", "two")
    again = head(SCORES)
    assert again.commit != first and '"top1": 0.75' in again.files["one"]["metrics.json"]
    subprocess.run(["rm", "-r", ".dvc/cache"], check=True)
    assert head(SCORES).files == {"one": {}, "two": {}}


WRITES = """
stages:
  evaluate:
    cmd: python write.py
    params: [seed, encoder]
    plots: [data/scores/one/confusion.csv]
    outs: [elsewhere.txt]
"""
PROGRAM = """
import pathlib, re
folder = pathlib.Path("data/scores/one")
folder.mkdir(parents=True, exist_ok=True)
pathlib.Path("elsewhere.txt").write_text("of no concern to a report")
(folder / "confusion.csv").write_text(re.search("seed: ([0-9]+)", pathlib.Path("params.yaml").read_text())[1])
"""


@pytest.mark.slow
def test_the_repeats_are_the_experiments_of_other_seeds(project):
    """Of this commit, one for each seed; an experiment that differs in more is none, nor is one whose results went."""
    params = Path("params.yaml")

    def found():
        return repeats(Path("data"), params, read(params, []))

    assert found() == [], "no DVC"
    Path("dvc.yaml").write_text(WRITES)
    Path("write.py").write_text(PROGRAM)
    Path(".gitignore").write_text("/data/\n")
    git("init", "-q")
    git("config", "user.name", "t")
    git("config", "user.email", "t@t")
    dvc("init", "-q")
    dvc("repro", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    assert found() == [], "no experiment"
    for changes in (
        ["seed=2"],
        ["seed=1"],
        ["seed=3", "encoder.name=resnet18_small"],
        ["++runtime.workers=1", "seed=1"],
    ):
        dvc("exp", "run", "-q", *(word for change in changes for word in ("-S", change)))
        git("checkout", "-q", ".")
    kept = Path("scores", "one", "confusion.csv")
    assert [each.seeds for each in found()] == [(1, 0), (2, 0)]
    assert [each.files[kept].read_text() for each in found()] == ["1", "2"]
    params.write_text(params.read_text().replace("seed: 0", "seed: 2", 1))
    assert [each.seeds for each in found()] == [(1, 0)], "that of the workspace is none"
    git("commit", "-qam", "two")
    assert found() == [], "of another commit"

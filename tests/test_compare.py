"""Models beside one another: against the report's own formula, by hand, and as a person calls it."""

import csv
import io
import json
import os
import subprocess

import pytest
from typer.testing import CliRunner

from pipeline.compare import Scored, compare, markdown
from pipeline.errors import BadData, ParamsError
from pipeline.score.accuracy import wilson
from stages.cli import app

ACTUAL = list("aabbccaabb") * 5


def text(right, actual=ACTUAL):
    """confusion.csv where the rows in `right` are, and the others say 'z'."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["actual", "predicted"])
    writer.writerows([a, a if row in right else "z"] for row, a in enumerate(actual))
    return out.getvalue()


def scored(name, right, actual=ACTUAL):
    return Scored.parse(name, text(right, actual))


def test_a_row_says_how_far_a_model_is_from_the_first_and_how_sure_that_is():
    from scipy.stats import binomtest

    first, second = compare([scored("one", range(30)), scored("two", range(8, 44))])
    assert (first["model"], first["n"], first["top1"]) == ("one", 50, 0.6)
    assert (first["low"], first["high"]) == wilson(0.6, 50)
    assert {first[name] for name in ("difference", "difference_low", "p", "only_this", "only_first")} == {None}
    assert second["difference"] == pytest.approx(6 / 50)
    assert (second["only_this"], second["only_first"]) == (14, 8)
    assert second["p"] == pytest.approx(binomtest(14, 22).pvalue)
    wide = 1.959964 * (22 - 36 / 50) ** 0.5 / 50
    assert (second["difference_low"], second["difference_high"]) == pytest.approx((0.12 - wide, 0.12 + wide))


def test_models_of_other_test_images_have_a_difference_but_no_paired_test():
    rows = compare([scored("one", range(30)), scored("two", range(30), ACTUAL[::-1]), scored("three", range(9))])
    assert rows[1]["difference"] == 0 and rows[1]["p"] is rows[1]["difference_low"] is None
    assert rows[2]["p"] is not None
    assert markdown(rows).endswith("so not paired: two.")


def test_the_markdown_is_a_table_whose_bars_stand_below_one_another():
    lines = markdown(compare([scored("one", range(30)), scored("a longer name", range(44))])).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[1].replace("-", "").replace(" ", "") == "||:|:|:|:|:|:|"
    assert lines[3].split()[-6:] == ["+40.4", "|", "0.00012", "|", "50", "|"]


@pytest.mark.parametrize("broken", ("", "actual,predicted\n", "actual,guess\na,b\n", 'actual,predicted\na,"b'))
def test_what_is_no_table_of_predictions_is_bad_data(broken):
    with pytest.raises(BadData, match=r"^m: its confusion.csv .* evaluate it again"):
        Scored.parse("m", broken)


@pytest.fixture
def project(tmp_path, monkeypatch):
    pytest.importorskip("dvc.api")  # now, for its log goes where stderr is when it is imported
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data/scores/finetune", range(30))
    write(tmp_path / "data/scores/student-1", range(44))
    write(tmp_path / "elsewhere/scores/finetune", range(20))
    return tmp_path


def write(folder, right):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "confusion.csv").write_text(text(right))


def test_the_command_takes_names_and_folders(project):
    asked = ["compare", "finetune", "student-1", "elsewhere/scores/finetune"]
    said = CliRunner().invoke(app, [*asked, "--json"])
    rows = json.loads(said.stdout)
    assert [(row["model"], row["top1"]) for row in rows] == list(zip(asked[1:], (0.6, 0.88, 0.4), strict=True))
    said = CliRunner().invoke(app, [*asked, "--markdown"])
    assert said.stdout == markdown(rows) + "\n"
    plain = CliRunner().invoke(app, asked).stdout.splitlines()
    assert " ".join(plain[2].split()) == "student-1 88.0 76.2 to 94.4 +28.0 +15.6 to +40.4 0.00012 50"
    assert len(plain) == 5 and "McNemar" in plain[4]


def test_what_cannot_be_compared_is_said_in_one_line(project):
    runner = CliRunner()
    assert isinstance(runner.invoke(app, ["compare", "finetune"]).exception, ParamsError)
    for name in ("simclr", "finetune@nowhere"):
        error = runner.invoke(app, ["compare", "finetune", name]).exception
        assert isinstance(error, BadData) and "\n" not in str(error) and name.partition("@")[0] in str(error)


@pytest.mark.slow
def test_a_model_at_a_revision_is_read_as_dvc_has_it(project):
    """Cached by DVC, not kept in Git; the name of an experiment is resolved as `dvc exp show` prints it."""
    from dvc.repo import Repo

    def git(*words):
        who = {f"GIT_{part}_{what}": "t@t.t" for part in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(["git", *words], check=True, capture_output=True, text=True, env=os.environ | who)
        return done.stdout.strip()

    git("init", "-q")
    with Repo.init() as repo:
        repo.add("data/scores/finetune/confusion.csv")
        git("add", ".dvc", "data/scores/finetune")
        git("commit", "-qm", "one")
        first = git("rev-parse", "HEAD")
        write(project / "data/scores/finetune", range(10))
        repo.add("data/scores/finetune/confusion.csv")
        git("commit", "-qam", "two")
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/weak-views", "HEAD")
    write(project / "data/scores/finetune", range(50))
    said = CliRunner().invoke(app, ["compare", "finetune", "finetune@HEAD~1", "finetune@weak-views", "--json"])
    assert said.exception is None, said.exception
    assert [row["top1"] for row in json.loads(said.stdout)] == [1, 0.6, 0.2]
    error = CliRunner().invoke(app, ["compare", "finetune", "student-7@HEAD"]).exception
    assert isinstance(error, BadData) and "student-7" in str(error) and "\n" not in str(error)

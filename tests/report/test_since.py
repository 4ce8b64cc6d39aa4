"""What has changed since the last commit: the numbers of both, the paired interval, and silence where nothing did."""

import html
import re

import pytest

from pipeline import report
from pipeline.report.since import Past
from tests.report.fake_run import write_csv
from tests.report.parsed import MODELS, Page, metrics, right

ALL = ("scratch", "simclr", *MODELS)


def past(root, **changed):
    """Of the same run, but for the files of some models; None for a model that was not there."""
    files = {}
    for name in ALL:
        folder = root / "scores" / name
        files[name] = {
            each: (folder / each).read_text() for each in ("metrics.json", "confusion.csv")[: 1 + (name in MODELS)]
        }
    files |= {name.replace("_", "-"): given for name, given in changed.items()}
    return Past("abc1234", "2026-11-21", {name: given for name, given in files.items() if given is not None})


def built(root, params, before):
    report.build(root, params, before)
    page = Page(root / "report.html")
    rows = {key.removeprefix("since of "): cells for key, cells in page.rows.items() if key and key.startswith("since")}
    return {name: [" ".join(cell.split()) for cell in cells] for name, cells in rows.items()}


def words(root):
    text = html.unescape(re.sub(r"<[^>]+>", "", (root / "report.html").read_text()))
    return " ".join(re.search(r"Since the last commit(.*?)Model", text, re.DOTALL)[1].split())


def test_a_score_that_moved_has_both_numbers_and_the_paired_interval(make):
    root, params = make()
    older = past(root, student_2=past(root).files["finetune"], simclr={"metrics.json": '{"knn": 0.5}'})
    rows = built(root, params, older)
    mine, theirs = right(root, "student-2"), right(root, "finetune")
    apart = [a - b for a, b in zip(mine, theirs, strict=True)]
    n, mean = len(apart), sum(apart) / len(apart)
    half = 196 * (sum(each * each for each in apart) / n - mean**2) ** 0.5 / n**0.5
    assert rows["student-2"][:3] == ["Student 2", f"{100 * sum(theirs) / n:.1f}", f"{100 * sum(mine) / n:.1f}"]
    assert rows["student-2"][3] == f"{100 * mean:+.1f}±\u00a0{half:.1f}".replace("\u00a0", " ")
    assert rows["simclr"] == ["simclr kNN", "50.0", f"{100 * metrics(root, 'simclr')['knn']:.1f}", "+15.0"]
    assert list(rows) == ["student-2", "simclr"], "the others did not change"
    assert words(root).startswith("Against abc1234 of 2026-11-21, the last commit when this page was made")
    assert words(root).endswith("The 4 that are not listed are as they were.")


def test_other_test_images_have_a_difference_without_an_interval(make, tmp_path):
    root, params = make()
    write_csv(tmp_path / "other.csv", [{"actual": "1", "predicted": "1"}, {"actual": "2", "predicted": "1"}])
    older = {"metrics.json": '{"top1": 0.5}', "confusion.csv": (tmp_path / "other.csv").read_text()}
    rows = built(root, params, past(root, baseline=older))
    assert rows["baseline"][3] == f"{100 * metrics(root, 'baseline')['top1'] - 50:+.1f}"


def test_the_same_score_by_other_guesses_is_a_change(make):
    root, params = make()
    older = past(root).files["baseline"]
    head, *lines = older["confusion.csv"].splitlines()
    line = next(n for n, line in enumerate(lines) if len(set(line.split(","))) == 2)
    lines[line] = f"{lines[line].split(',')[0]},none"
    rows = built(root, params, past(root, baseline=older | {"confusion.csv": "\n".join([head, *lines])}))
    assert list(rows) == ["baseline"] and rows["baseline"][3].startswith("+0.0")


def test_models_that_are_new_or_gone(make):
    root, params = make()
    rows = built(root, params, past(root, student_2=None, student_7={"metrics.json": '{"top1": 0.25}'}))
    assert rows == {
        "student-2": ["Student 2", "\u2013", f"{100 * metrics(root, 'student-2')['top1']:.1f}", "new"],
        "student-7": ["student-7", "25.0", "\u2013", "gone"],
    }


UNREADABLE = (
    {},
    {"metrics.json": "{"},
    {"metrics.json": "[]"},
    {"metrics.json": "{}"},
    {"metrics.json": '{"top1": null}'},
)


@pytest.mark.parametrize("files", UNREADABLE, ids=str)
def test_of_a_model_whose_past_cannot_be_read_nothing_is_said(make, files):
    root, params = make()
    assert built(root, params, past(root, student_2=files, gone=files)) == {}


def test_where_nothing_changed_or_nothing_is_known_it_says_nothing(make):
    root, params = make()
    without_guesses = {"metrics.json": past(root).files["finetune"]["metrics.json"]}
    for before in (None, Past("abc1234", "2026-11-21", {}), past(root), past(root, finetune=without_guesses)):
        assert built(root, params, before) == {}
        text = (root / "report.html").read_text()
        assert "last commit" not in text and "abc1234" not in text

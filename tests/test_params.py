"""What params.yaml means: defaults, the file, -S, and what a round changes."""

import pytest
from pydantic import ValidationError

from pipeline import yaml_file
from pipeline.params import Params
from tests.params_files import DEFAULT, SMALL, changed, said


@pytest.fixture
def file(tmp_path):
    return tmp_path / "params.yaml"


def load(file, text, *sets):
    file.write_text(text)
    return yaml_file.load(file, sets)


@pytest.mark.parametrize(
    "text", (DEFAULT, SMALL, "", "~", "seed: 3"), ids=("default", "small", "empty", "null", "short")
)
def test_good_files(file, text):
    assert said(file, text) == []


def test_an_empty_file_is_all_defaults(file):
    assert load(file, "") == Params()


def test_override_goes_before_file_goes_before_default(file):
    assert load(file, "").distill.select.threshold == 0.3
    assert load(file, "distill: {select: {threshold: 0.5}}").distill.select.threshold == 0.5
    sets = ("distill.select.threshold=0.7", "distill.select.quota=5")
    select = load(file, "distill: {select: {threshold: 0.5}}", *sets).distill.select
    assert (select.threshold, select.quota) == (0.7, 5)
    assert load(file, "seed: 1", "seed=2", "seed=3").seed == 3, "the last one"


def test_an_override_reads_yaml_and_makes_sections(file):
    p = load(file, SMALL, "data.classes=[cat, dog]", "pretrain.three.from=two", "pretrain.three.knobs={tau: 0.1}")
    assert p.data.classes == ["cat", "dog"]
    assert (p.pretrain["three"].start, p.pretrain["three"].knobs) == ("two", {"tau": 0.1})


def test_a_round_changes_what_it_names_and_nothing_else(file):
    p = load(file, SMALL, "distill.select.quota=7")
    first, second = p.round_distill("1"), p.round_distill("2")
    assert first == p.distill and first.knobs == {"ema": 0.9}
    assert second.knobs == {"ema": 0.9, "labels": "hard"}
    assert (second.select.threshold, second.select.quota, second.steps) == (0.8, 7, 20)
    assert p.distill.select.threshold == 0.3, "the common section stays"


def test_a_round_may_go_back_to_a_default(file):
    """Only what stands in the round counts as said there, also where it is the default."""
    text = 'distill: {steps: 20}\nrounds:\n  "1": {teacher: finetune, distill: {steps: 1000}, label: {batch: 256}}\n'
    p = load(file, text, "label.batch=8")
    assert (p.round_distill("1").steps, p.labelling("1")[2].batch) == (1000, 256)


def test_a_stage_has_the_common_encoder_or_its_own(file):
    p = load(file, "encoder: {drop: 0.1}\ndistill: {encoder: {name: wrn_28_2}}")
    assert p.encoder_of(p.finetune).drop == 0.1
    assert (p.encoder_of(p.distill).name, p.encoder_of(p.distill).drop) == ("wrn_28_2", 0.0)


def test_params_cannot_be_changed():
    with pytest.raises(ValidationError):
        Params().seed = 3


@pytest.mark.parametrize(
    "old, new, finding",
    [
        ("steps: 10", "step: 10", "params.yaml:3: pretrain.one.step: unknown key; did you mean 'steps'?"),
        ("seed: 1", "colour: red", "params.yaml:1: colour: unknown key; known here: seed, data, more"),
        (
            "threshold: 0.8",
            "treshold: 0.8",
            "params.yaml:19: rounds.2.distill.select.treshold: unknown key; did you mean",
        ),
        ("steps: 20", "steps: many", "params.yaml:12: distill.steps: Input should be a valid integer"),
        ("steps: 20", "steps: 20.0", "params.yaml:12: distill.steps: Input should be a valid integer"),
        ("steps: 20", "steps: true", "params.yaml:12: distill.steps: Input should be a valid integer"),
        ("steps: 20", "steps: 0", "params.yaml:12: distill.steps: Input should be greater than or equal to 1 (got 0)"),
        ("threshold: 0.8", "threshold: 1.8", "params.yaml:19: rounds.2.distill.select.threshold: Input should be less"),
        ("seed: 1", "seed: '1'", "params.yaml:1: seed: Input should be a valid integer"),
        ("seed: 1", "data: {format: gif}", "params.yaml:1: data.format: Input should be 'png' or 'jpg' (got 'gif')"),
        ("seed: 1", "data: [1]", "params.yaml:1: data: this is a section"),
        ('"2":\n', "2:\n", 'params.yaml:16: rounds.2: quote this name ("2")'),
        ("  two:\n", "  Two Runs:\n", "params.yaml:4: pretrain.Two Runs: "),
        ("{teacher: finetune, from", "{from", "params.yaml:15: rounds.1.teacher: Field required"),
    ],
)
def test_a_finding_names_file_line_key_and_what_is_allowed(file, old, new, finding):
    findings = said(file, changed(old, new))
    assert any(each.startswith(finding) for each in findings), findings


def test_every_finding_is_told_at_once(file):
    text = changed("steps: 20", "steps: 0", changed("seed: 1", "seed: -1"))
    assert [each.split(": ")[:2] for each in said(file, text)] == [
        ["params.yaml:1", "seed"],
        ["params.yaml:12", "distill.steps"],
    ]


@pytest.mark.parametrize(
    "given, finding",
    [
        ("seed", "-S seed: write KEY=VALUE"),
        ("=3", "-S =3: write KEY=VALUE"),
        ("data..size=3", "-S data..size=3: write KEY=VALUE"),
        ("seed.x=3", "-S seed.x=3: seed is a value, not a section"),
        ("seeed=3", "-S seeed=3: seeed: unknown key; did you mean 'seed'?"),
        ("nothing.of.this=3", "-S nothing.of.this=3: nothing: unknown key"),
        ("distill.steps=0", "-S distill.steps=0: distill.steps: Input should be greater"),
        ("distill={steps: 0}", "-S distill={steps: 0}: distill.steps: Input should be greater"),
        (
            "pretrain.two.knobs.tua=3",
            "-S pretrain.two.knobs.tua=3: pretrain.two.knobs.tua: unknown key; did you mean 'tau'",
        ),
        ("seed=[1", "-S seed=[1"),
        ("final=student-3", "-S final=student-3: final: 'student-3' is not made by then"),
    ],
)
def test_a_finding_in_an_override_names_the_override(file, given, finding):
    findings = said(file, SMALL, given)
    assert len(findings) == 1 and findings[0].startswith(finding), findings


def test_an_override_is_not_blamed_for_what_the_file_says(file):
    assert said(file, changed("steps: 20", "steps: 0"), "distill.batch=3")[0].startswith(
        "params.yaml:12: distill.steps"
    )


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(yaml_file.ParamsError, match=r"nowhere\.yaml: No such file.*--params"):
        yaml_file.load(tmp_path / "nowhere.yaml")

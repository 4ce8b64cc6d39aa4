"""S6: whatever is in params.yaml, the answer is Params or a ParamsError (exit 2) with line and reason, within a second.

Seconds are of this process's CPU, so that a busy machine does not fail the test. Where a limit is tested, a control
shows that the input is harmful without it.
"""

import io
import time
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline import yaml_file
from pipeline.errors import ParamsError
from pipeline.params import Params
from tests.params_files import DEFAULT, SMALL, changed, said

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + below] * 9)}]\n" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MKDIR = "seed: !!python/object/apply:os.mkdir ['{}']\n"
DEEP = {
    "flow": "a: " + "[" * 10_000 + "]" * 10_000,
    "unclosed": "[" * 10_000,
    "mappings": "a: " + "{a: " * 10_000,
    "dashes": "- " * 10_000,
    "questions": "? " * 10_000,
    "lines": "[\n" * 10_000,
    "indents": "\n".join(" " * i + "a:" for i in range(300)),
}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "params.yaml"


def at_once(file, text, *sets):
    started = time.process_time()
    findings = said(file, text, *sets)
    assert time.process_time() - started < 1
    return findings


@pytest.mark.parametrize(
    "text, finding",
    [
        (BOMB, "params.yaml:1: an alias (*name) or anchor (&name)"),
        ("a: 1\nb: *a\n", "params.yaml:2: an alias"),
        (MKDIR.format("x"), "params.yaml:1: could not determine a constructor for the tag"),
        (changed("seed: 1", "seed: !thing 3"), "params.yaml:1: could not determine a constructor for the tag '!thing'"),
        (changed("seed: 1", "seed: 1\nseed: 2"), 'params.yaml:2: found duplicate key "seed"'),
        (changed("steps: 20", "steps: 20\n  steps: 30"), 'params.yaml:13: found duplicate key "steps"'),
        (changed("tau: 0.2", "tau: .nan"), "params.yaml:7: pretrain.two.knobs.tau: Input should be a finite number"),
        ("distill: {optimiser: {lr: .inf}}", "params.yaml:1: distill.optimiser.lr: Input should be a finite number"),
        ("seed: 1\ndata:\n\tsize: 3", "params.yaml:3: found character '\\t'"),
        ("seed: 1\n---\nseed: 2", "params.yaml:2: but found another document"),
        ("- seed", "params.yaml:1: expected sections"),
        ("seed", "params.yaml:1: expected sections"),
        (b"seed: \xff", "params.yaml: not UTF-8 text (invalid start byte at byte 6)"),
        (b"seed: \x00", "params.yaml: unacceptable character"),
        ("seed: " + "9" * 5000, "params.yaml: not YAML that can be read"),
        ("seed: !!int x", "params.yaml: not YAML that can be read"),
        ("seed: !!binary aGVsbG8=", "params.yaml:1: seed: Input should be a valid integer"),
        ("seed: 2026-11-20", "params.yaml:1: seed: Input should be a valid integer"),
        ("? {a: b}\n: 1", "params.yaml:1: found unhashable key"),
        ("3: 1", "params.yaml:1: 3: "),
        ("sead: 3", "params.yaml:1: sead: unknown key; did you mean 'seed'?"),
        ("seed: many", "params.yaml:1: seed: Input should be a valid integer"),
        *((text, "params.yaml:") for text in DEEP.values()),
    ],
)
def test_refused_at_once(file, text, finding):
    findings = at_once(file, text)
    assert len(findings) == 1 and findings[0].startswith(finding), [each[:200] for each in findings]


@pytest.mark.parametrize("name", DEEP)
def test_depth_is_what_is_refused(file, name):
    finding = at_once(file, DEEP[name])[0]
    assert "more than 32 levels; write the value out" in finding and int(finding.split(":")[1]) <= 40


def test_as_deep_as_anybody_needs(file):
    deep = "[" * 20 + "]" * 20
    assert at_once(file, f"encoder: {{args: {{x: {deep}}}}}") == []


def test_ten_megabytes_are_not_even_read(file):
    text = DEFAULT + "#" * 10_000_000
    assert at_once(file, text) == [f"params.yaml: {len(text):,} bytes; at most 65,536 are read"]


def test_an_override_is_read_as_strictly(file):
    for value in ("*a", "!!python/name:os.system", "[" * 10_000, "{a: 1, a: 2}", ".nan"):
        findings = at_once(file, SMALL, f"seed={value}")
        assert len(findings) == 1 and findings[0].startswith("-S seed="), findings


def test_yaml_1_2_as_dvc_reads_it(file):
    """1e-3 is a number, `no` and `on` are words, 010 is ten, 1_000 is no number."""
    file.write_text("seed: 010\ndata: {source: no, classes: [yes, on, y]}\nfinetune: {optimiser: {lr: 1e-3}}\n")
    p = yaml_file.load(file)
    assert (p.seed, p.data.source, p.data.classes, p.finetune.optimiser.lr) == (10, "no", ["yes", "on", "y"], 1e-3)
    assert said(file, "finetune: {frozen: yes}")[0].endswith("Input should be a valid boolean (got 'yes')")


def test_control_the_parser_alone_takes_the_bomb():
    loaded = YAML(typ="safe", pure=True).load(BOMB)
    assert len(loaded["i"]) == 9 and loaded["i"][0] is loaded["i"][8], "9^9 words, if anything walks through them"


def test_control_without_the_limit_depth_is_another_error(file, monkeypatch):
    monkeypatch.setattr(yaml_file, "DEPTH_LIMIT", 10**9)
    assert "RecursionError" in said(file, DEEP["dashes"])[0] or "recursion" in said(file, DEEP["dashes"])[0]


def test_control_a_parser_that_trusts_runs_the_payload(tmp_path):
    pyyaml = pytest.importorskip("yaml")
    victim = tmp_path / "victim"
    pyyaml.unsafe_load(MKDIR.format(victim))
    assert victim.exists()
    victim.rmdir()
    assert said(tmp_path / "params.yaml", MKDIR.format(victim)) and not victim.exists()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "params.yaml"


def only_params_or_a_reason(file, data):
    file.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert isinstance(yaml_file.load(file), Params)
    except ParamsError as error:
        assert str(error).startswith(f"{file}:")


many = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.slow
@many
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(fuzzed, data):
    only_params_or_a_reason(fuzzed, data)


@pytest.mark.slow
@many
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%@`#,\n\t 0.1", max_size=60))
def test_any_text_of_yaml_signs(fuzzed, text):
    only_params_or_a_reason(fuzzed, text.encode())


BYTES = SMALL.encode()


@pytest.mark.slow
@many
@given(st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 20), st.binary(max_size=8)), max_size=3))
def test_the_file_with_pieces_cut_out_and_put_in(fuzzed, edits):
    data = BYTES
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    only_params_or_a_reason(fuzzed, data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *("seed", "data", "data.size", "data.classes", "encoder.args", "final", "runtime", "runtime.memory"),
    *("pretrain", "pretrain.one", "pretrain.two.knobs", "pretrain.two.knobs.tau", "distill.knobs", "distill.select"),
    *("finetune", "finetune.views", "finetune.views.x", "finetune.from"),
    *("rounds", "rounds.1", "rounds.2.distill", "rounds.1.teacher"),
]


@pytest.mark.slow
@many
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_anywhere(fuzzed, place, value):
    tree = {"": YAML(typ="safe", pure=True).load(SMALL)}
    *sections, last = ("", *place.split("."))
    here = tree
    for section in sections:
        here = here.setdefault(section, {})
    here[last] = value
    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree[""], out)
    only_params_or_a_reason(fuzzed, out.getvalue().encode("utf-8", "replace"))

"""The command as people and scripts see it: names, help, one-line errors, exit codes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command

from pipeline import errors
from pipeline.params import Params
from stages import cli
from stages.command import read
from tests.params_files import DEFAULT

ROOT = Path(__file__).parents[2]
COMMON = ["--params", "--set", "-S"]
FROZEN = {
    "scan": ["NAME", *COMMON],
    "prepare": ["NAME", *COMMON],
    "scratch": COMMON,
    "pretrain": ["RUN", *COMMON],
    "finetune": ["--baseline", *COMMON],
    "label": ["NAME", *COMMON],
    "audit": COMMON,
    "distill": ["ROUND", *COMMON],
    "evaluate": ["NAME", *COMMON],
    "robustness": ["NAME", *COMMON],
    "report": ["--markdown", "--open", *COMMON],
    "methods": ["--json"],
    "params": COMMON,
    "verify": ["FOLDER"],
    "export": ["NAME", "FOLDER"],
    "choose": ["NAME", "FOLDER", "--count", *COMMON],
    "materialise": ["ROUND", "--to", *COMMON],
    "natural": ["NAME", "FOLDER", *COMMON],
    "compare": ["MODELS", "--json", "--markdown"],
}
STAGES = list(FROZEN)[:11]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(DEFAULT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capfd):
    """run(*arguments) -> (exit code, stdout, stderr), in this process."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["ssl-pipe", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capfd.readouterr())

    return command


def test_commands_and_options_are_frozen():
    """Scripts hold on to them: a change here is a change for everybody."""
    commands = get_command(cli.app).commands
    found = {
        name: sorted(
            option.upper() if each.param_type_name == "argument" else option
            for each in command.params
            for option in (*each.opts, *each.secondary_opts)
        )
        for name, command in commands.items()
    }
    assert found == {name: sorted(options) for name, options in FROZEN.items()}


def test_help_lists_every_command_with_a_whole_sentence(run):
    code, out, _ = run("--help")
    assert code == 0 and "Stages:" in out and "Tools:" in out and "dvc repro" in out
    for name in FROZEN:
        assert re.search(rf"^  {name} +[A-Z]", out, re.MULTILINE), name
    assert "..." not in out.partition("Stages:")[2], "a sentence was cut"


def test_no_command_is_the_help(run):
    code, out, err = run()
    assert code == 2 and "Stages:" in out + err


@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage_shows_a_command_to_copy(run, stage):
    """On a line of its own, and it parses."""
    code, out, _ = run(stage, "--help")
    shown = re.findall(r"^ +ssl-pipe (.*)$", out, re.MULTILINE)
    assert code == 0 and len(shown) == 1 and shown[0].split()[0] == stage
    _, *arguments = shown[0].split()
    command = get_command(cli.app).commands[stage]
    values = command.make_context(stage, list(arguments)).params
    assert read(Path("params.yaml"), values.get("sets") or []) is not None
    names = {"run": "pretrain", "round": "rounds"}
    for argument, section in names.items():
        if argument in values:
            assert values[argument] in getattr(read(Path("params.yaml"), []), section), "a name that is there"


@pytest.mark.parametrize("arguments", [["nonsense"], ["pretrain"], ["scan", "--no"], ["label", "1", "2"]], ids=str)
def test_wrong_usage_is_exit_code_2(run, arguments):
    code, out, err = run(*arguments)
    assert code == 2 and not out and "Error" in err and "Traceback" not in err


CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.PipeError)]


def test_exit_codes_are_frozen():
    codes = {c.__name__: c.exit_code for c in CLASSES if c is not errors.PipeError}
    assert codes == {
        "ParamsError": 2, "BadData": 65, "Diverged": 70, "Collapsed": 70, "CannotWrite": 73, "Locked": 75,
        "WrongVersion": 76, "Preempted": 143,
    }  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES, ids=[c.__name__ for c in CLASSES])
def test_an_error_of_ours_is_one_line_and_its_exit_code(run, monkeypatch, kind):
    def fail(*_):
        raise kind("what.yaml:3: is wrong; do this\nthat.yaml:4: too")

    monkeypatch.setattr("pipeline.data.scan.scan", fail)
    code, out, err = run("scan")
    assert (code, out) == (kind.exit_code, "")
    assert err == "error: what.yaml:3: is wrong; do this\nerror: that.yaml:4: too\n"


def test_any_other_error_is_a_bug_and_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline.data.scan.scan", fail)
    monkeypatch.setattr(sys, "argv", ["ssl-pipe", "scan"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["pretrain", "moco"], "error: pretrain 'moco' is not in params.yaml; it has simclr"),
        (["label", "7"], "error: round '7' is not in params.yaml; it has 1, 2"),
        (["distill", "7"], "error: round '7' is not in params.yaml; it has 1, 2"),
        (
            ["evaluate", "student-7"],
            "error: model 'student-7' is not in params.yaml; it has scratch, simclr, baseline, finetune, student-1, st",
        ),
        (["params", "-S", "label.bach=3"], "error: -S label.bach=3: label.bach: unknown key; did you mean 'batch'?"),
        (["params", "--params", "other.yaml"], "error: other.yaml: No such file or directory; pass --params FILE"),
    ],
)  # fmt: skip
def test_a_wrong_name_or_value_is_one_line(run, arguments, line):
    code, out, err = run(*arguments)
    assert code == 2 and not out and err.startswith(line) and err.count("\n") == 1


def test_params_prints_what_the_stages_will_see(run):
    code, out, _ = run("params", "-S", "finetune.steps=7")
    says = json.loads(out)
    assert code == 0 and says["finetune"]["steps"] == 7 and says["finetune"]["from"] == "simclr"
    plain = {"views": ["plain"], "noise": False, "gain": None}
    assert says["label"] == {"batch": 256, "top": 16, "precision": "fp32"} | plain, "with defaults"
    assert Params.model_validate(says).finetune.steps == 7, "and it could be params.yaml itself"


def test_the_environment_may_name_the_file(run, monkeypatch):
    Path("other.yaml").write_text("seed: 99")
    monkeypatch.setenv("SSL_PIPE_PARAMS", "other.yaml")
    assert json.loads(run("params")[1])["seed"] == 99


def test_an_override_is_refused_inside_dvc(run, monkeypatch):
    """DVC would record the result under the values of the file."""
    monkeypatch.setenv("DVC_STAGE", "scan")
    code, _, err = run("scan", "-S", "data.size=8")
    assert code == 2 and "dvc exp run -S" in err
    assert run("params")[0] == 0, "without one, it is an ordinary stage"


def test_methods_as_text_and_as_json(run):
    _, text, _ = run("methods")
    _, out, _ = run("methods", "--json")
    for each in json.loads(out):
        assert each.keys() == {"name", "family", "paper", "summary", "use", "views", "columns", "knobs"}
        assert (
            f"{each['name']} ({each['family']}): {each['paper']}" in text
            and each["summary"] in text
            and each["use"] in text
        )
        for knob, about in each["knobs"].items():
            assert f"knob  {knob}: {about['type']} = {about['default']!r}" in text
        for view, recipe in (each["views"]["labelled"] | each["views"]["unlabelled"]).items():
            assert f"view  {view}: {recipe}" in text


def test_a_stage_runs(run, project):
    assert run("scan")[0] == 0
    assert json.loads((project / "data" / "source.json").read_text()) == scan_of_digits()


def scan_of_digits():
    from pipeline.data.scan import scan as scan_data

    return json.loads(json.dumps(scan_data(Params().data)))


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=True)


HEAVY = (
    "torch",
    "timm",
    "sklearn",
    "matplotlib",
    "numpy",
    "pydantic",
    "ruamel",
    "rich",
    "webdataset",
    "dvc",
    "scipy",
    "PIL",
)


def loaded(code):
    show = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    return set(python("-c", f"{code}\n{show}").stdout.splitlines()[-1].split())


def test_the_command_starts_without_what_it_does_not_need():
    assert not set(HEAVY) & loaded("import stages.cli")
    show_help = (
        "import contextlib, sys\n"
        "sys.argv = ['ssl-pipe', '--help']\n"
        "from stages import cli\n"
        "with contextlib.suppress(SystemExit): cli.main()"
    )
    assert not set(HEAVY) & loaded(show_help)


def test_params_and_methods_are_read_without_torch():
    code = "from pipeline import yaml_file; yaml_file.load('params.yaml')"
    assert not {"torch", "timm", "sklearn", "numpy"} & loaded(code)


@pytest.mark.slow
def test_help_answers_at_once():
    """Seconds of CPU, of which Python's own start is not ours to change; 0.15 s in all on an idle machine."""

    def seconds(*arguments):
        took = []
        for _ in range(5):
            before = os.times()
            python(*arguments)
            after = os.times()
            took.append(after.children_user + after.children_system - before.children_user - before.children_system)
            time.sleep(0.01)
        return min(took)

    assert seconds("-m", "stages.cli", "--help") - seconds("-c", "pass") < 0.25


def test_every_stage_of_the_graph_is_a_command():
    text = (ROOT / "dvc.yaml").read_text()
    asked = set(re.findall(r"cmd: exec ssl-pipe (\w+)", text))
    assert asked == set(STAGES)

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ParamsError
from pipeline.views import recipes
from pipeline.views.recipe import LONGEST, parse
from pipeline.views.signatures import number, signatures

PRESETS = {name: text for name, text in vars(recipes).items() if name.isupper()}


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_are_canonical(name):
    assert str(parse(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize(
    "written, canonical",
    [
        ("crop( min = 0.20 )|  flip()", "crop(.2)|flip"),
        ("crop(max=.5)", "crop(max=.5)"),
        ("crop(size=16, max=0.25, min=.05)", "crop(.05, .25, size=16)"),
        ("jitter(1, hue=None)", "jitter(1, hue=None)"),
        ("randaugment(m=9, n=2)|grey(1.0)", "randaugment(2, 9)|grey(1)"),
        ("affine(1e1)|affine(-0.0)", "affine(10)|affine(-0)"),
        ("blur(1e-7)", "blur(1e-07)"),
    ],
)
def test_canonical_text(written, canonical):
    recipe = parse(written)
    assert str(recipe) == canonical
    assert parse(canonical) == recipe


def test_arguments_by_name():
    crop, flip = parse("crop(.05, .25, size=16)|flip").steps
    assert (crop.name, crop.arguments) == ("crop", {"min": 0.05, "max": 0.25, "size": 16.0})
    assert (flip.name, flip.arguments) == ("flip", {})
    assert type(parse("grey(1)").steps[0].arguments["p"]) is float


@pytest.mark.parametrize(
    "text, column, says",
    [
        ("crop(.2)|flop", 10, "no op 'flop'; known: affine, blur, crop"),
        ("crop(.2)|flop", 10, "did you mean 'flip'?"),
        ("Flip", 1, "did you mean 'flip'?"),
        ("flip| crop(mni=.2)", 12, "crop has no argument 'mni'; it takes min=.08, max=1, ratio_min=3/4, ratio_max=4/3"),
        ("flip(.1, .2)", 10, "at most 1 arguments: p=.5"),
        ("flip('half')", 6, "a number from 0 to 1, not 'half'"),
        ("flip(True)", 6, "a number from 0 to 1, not True"),
        ("flip(None)", 6, "a number from 0 to 1, not None"),
        ("flip(1.5)", 6, "a number from 0 to 1, not 1.5"),
        ("crop(.1, size=0)", 15, "a number from 0.01 to 4096, not 0"),
        ("flip(1e999)", 6, "not 1e999"),
        ("flip(1/2)", 6, "not 1/2"),
        ("flip(p=.1, p=.2)", 12, "gets 'p' twice"),
        ("flip(.1, p=.2)", 10, "gets 'p' twice"),
        ("flip(*[.1])", 6, "not *[.1]"),
        ("flip(**{'p': 1})", 6, "no argument '**'"),
        ("flip|jitter", 6, "jitter needs brightness"),
        ("flip|crop(.5, .2)", 6, "min=.5 above max=.2"),
        ("crop(max=0.05)", 1, "min=.08 above max=.05"),
        ("crop(max=0)", 1, "min=.08 above max=0"),
        ("randaugment(2, 3, m_min=5)", 1, "m_min=5 above m=3"),
        ("flip|crop(.2", 10, "never closed"),
        ("flip|crop.2)", 12, "an op is a name or name(arguments)"),
        ("flip|crop(.2))", 14, "unmatched ')'"),
        ("flip||grey(.2)", 6, "an op is missing"),
        ("flip|", 6, "an op is missing"),
        ("", 1, "an op is missing"),
        ("flip(.5)(.5)", 1, "an op is a name or name(arguments)"),
        ("a.flip", 1, "an op is a name or name(arguments)"),
        ("flip\n|grey(.2)", 5, "'\\n' has no meaning here"),
        ("\ufb02ip", 1, "has no meaning here"),  # a ligature: Python would read fl
        ("__import__('os')|flip", 1, "no op '__import__'"),
        ("flip|crop(__import__('os').getpid())", 11, "not __import__('os').getpid()"),
        ("flip(p:=1)", 6, "a number from 0 to 1"),
        ("(lambda: flip)()", 1, "an op is a name or name(arguments)"),
    ],
)
def test_a_bad_recipe_names_the_column_and_what_is_known(text, column, says):
    with pytest.raises(ParamsError) as caught:
        parse(text)
    message = str(caught.value)
    assert f"column {column}: " in message and says in message and "\n" not in message


@pytest.mark.parametrize(
    "text", ["(" * 500, "flip(" + "-" * 900 + "1)", "flip(" + "[" * 150 + "]" * 150 + ")", "flip|" * LONGEST]
)
def test_deep_and_long_recipes_are_refused(text):
    with pytest.raises(ParamsError):
        parse(text)


ODD = [
    "'a'",
    "None",
    "True",
    "1j",
    "1_0",
    "0x",
    "\\",
    "lambda:",
    "f'{1}'",
    ":=",
    "__import__('os')",
    "\n",
    "\0",
    "\ud800",
]
pieces = st.sampled_from([*signatures(), *ODD, *"|(),=.1-[*# é", "p", "min", "max", "size"])
texts = st.one_of(st.lists(pieces, max_size=12).map("".join), st.text(max_size=40))


def parses_or_raises_params_error(text):
    try:
        recipe = parse(text)
    except ParamsError:
        return
    assert parse(str(recipe)) == recipe and str(parse(str(recipe))) == str(recipe)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_any_text(text):
    parses_or_raises_params_error(text)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(texts)
def test_much_text(text):
    parses_or_raises_params_error(text)


@given(st.data())
def test_any_right_recipe_comes_back(data):
    name = data.draw(st.sampled_from(list(signatures())))
    arguments = {}
    for argument in signatures()[name].arguments.values():
        low, high, whole = argument.range
        if argument.default is None or (data.draw(st.booleans()) and "m" not in argument.name[-3:]):
            arguments[argument.name] = data.draw(st.integers(low, high) if whole else st.floats(low, high))
    text = f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    (step,) = parse(text).steps
    assert step.arguments == arguments
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    "value, text", [(0.2, ".2"), (1.0, "1"), (-0.5, "-.5"), (10.05, "10.05"), (16, "16"), (None, "None")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_parsing_does_not_import_torch():
    code = (
        "import sys; from pipeline.views.recipe import parse; parse('crop(.2)|flip'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_signatures_read_from_the_source_are_those_of_the_classes():
    from dataclasses import MISSING, fields

    from pipeline.views.ops import Op

    assert sorted(Op.named) == list(signatures())
    for name, op in Op.named.items():
        read = signatures()[name].arguments
        assert list(read) == [field.name for field in fields(op)]
        for field in fields(op):
            if field.default is MISSING:
                assert read[field.name].default is None
            else:
                assert read[field.name].default is not None and read[field.name].value == field.default

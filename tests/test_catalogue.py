"""What is read from the source text is what the classes say when they are imported."""

import json
from inspect import signature
from typing import Literal, Union, get_type_hints

import pytest

from pipeline import catalogue
from pipeline.errors import ParamsError

ENTRIES = catalogue.entries()
each = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])


@each
def test_the_text_says_what_the_class_says(entry):
    cls = entry.load()
    assert (entry.labelled, entry.unlabelled, entry.columns) == (cls.labelled, cls.unlabelled, cls.columns)
    arguments = {n: p for n, p in signature(cls.__init__).parameters.items() if p.kind is p.KEYWORD_ONLY}
    hints = get_type_hints(cls.__init__)
    assert entry.knobs == {n: (hints[n], p.default) for n, p in arguments.items() if p.default is not p.empty}
    assert set(entry.given) == {n for n, p in arguments.items() if p.default is p.empty}
    assert " ".join(f"{entry.paper} {entry.summary} {entry.use}".split()) == " ".join(cls.__doc__.split())


@each
def test_a_description_is_plain_json(entry):
    says = json.loads(json.dumps(entry.describe()))
    assert says["name"] == entry.name and says["knobs"].keys() == entry.knobs.keys()
    assert says["views"] == {"labelled": entry.labelled, "unlabelled": entry.unlabelled}


def test_a_name_of_another_family_is_not_found():
    with pytest.raises(ParamsError, match=r"'simclr' is no method of the family semi; choose one of .*supervised"):
        catalogue.find("simclr", "semi")


def test_unions_and_choices(tmp_path):
    folder = tmp_path / "semi"
    folder.mkdir()
    (folder / "odd.py").write_text(
        "class Odd:\n"
        '    """A paper.\n\n    A summary\n    in two lines.\n\n    Use it often.\n    """\n'
        "    unlabelled = dict(a=WEAK)\n"
        "    def __init__(self, encoder, *, classes: int, a: int | None = None, b: Literal['x', 'y'] = 'x',\n"
        "                 c: float = -1.5): ...\n"
    )
    entry = catalogue._read(folder / "odd.py")
    assert entry.knobs == {"a": (Union[int, None], None), "b": (Literal["x", "y"], "x"), "c": (float, -1.5)}  # noqa: UP007
    assert (entry.paper, entry.summary) == ("A paper.", "A summary in two lines.")
    assert (entry.use, entry.given) == ("Use it often.", ("classes",))
    assert entry.unlabelled == {"a": "shift(.125)|flip"}

"""The generated pages say what the code says."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import reference
from pipeline.catalogue import entries

ROOT = Path(__file__).parents[1]
PAGES = reference.pages()


@pytest.mark.parametrize("path", sorted(PAGES))
def test_the_pages_in_the_repository_are_current(path):
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path], "run `make docs`"


def test_every_method_and_every_knob_has_its_place():
    page = PAGES["docs/methods.md"]
    for entry in entries():
        _, _, section = page.partition(f"### {entry.name}\n")
        section = section.partition("\n#")[0]
        assert entry.paper in section
        for knob, (_, default) in entry.knobs.items():
            assert f"| `{knob}` |" in section and f"| `{json.dumps(default)}` |" in section
        for view, recipe in (entry.labelled | entry.unlabelled).items():
            assert f"| `{view}` |" in section and recipe.replace("|", r"\|") in section


def test_a_method_brings_its_knobs_and_views_into_the_schema():
    defs = json.loads(PAGES["params.schema.json"])["$defs"]
    places = {"pretext": "Pretrain", "semi": "Finetune", "distill": "Round"}
    for entry in entries():
        listed = [name for name in places.values() if entry.name in defs[name]["properties"]["method"]["enum"]]
        assert listed == [places[entry.family]]
        rules = {rule["if"]["properties"]["method"]["const"]: rule["then"] for rule in defs[listed[0]]["allOf"]}
        has = rules[entry.name]
        has = has["properties"]["distill"] if entry.family == "distill" else has
        has = defs[has["$ref"].rpartition("/")[2]]["properties"]
        assert {k: v["default"] for k, v in has["knobs"]["properties"].items()} == {
            knob: default for knob, (_, default) in entry.knobs.items()
        }
        assert has["knobs"]["additionalProperties"] is False
        assert has["views"]["properties"].keys() == (entry.labelled | entry.unlabelled).keys()


def test_the_schema_has_every_key_of_the_default_params():
    schema = json.loads(PAGES["params.schema.json"])

    def known(value, says, where):
        if "$ref" in says:
            says = schema["$defs"][says["$ref"].rpartition("/")[2]]
        for part in says.get("anyOf", ()):
            if "$ref" in part:
                says = schema["$defs"][part["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and "properties" in says:
            for key, inner in value.items():
                assert key in says["properties"], f"{where}.{key}"
                known(inner, says["properties"][key], f"{where}.{key}")
        elif isinstance(value, dict) and "patternProperties" in says:
            for key, inner in value.items():
                known(inner, next(iter(says["patternProperties"].values())), f"{where}.{key}")

    known(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"), schema, "params.yaml")


def test_every_key_is_described():
    page = PAGES["docs/params.md"]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    for row in rows:
        assert len(row.split(" | ")[-1].removesuffix(" |")) > 5, row

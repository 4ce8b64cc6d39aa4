"""params.yaml -> Params, or errors that a person can act on: file, line, key, what is wrong, what is allowed.

Read as YAML 1.2 by ruamel.yaml, the parser that DVC uses, so that both see the same values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from pipeline import check
from pipeline.errors import ParamsError
from pipeline.params import Params

SIZE_LIMIT, DEPTH_LIMIT = 1 << 16, 32
Loc = tuple[str, ...]


def load(path: Path | str = "params.yaml", overrides: Sequence[str] = ()) -> Params:
    """Overrides are `KEY=VALUE` as in `dvc exp run -S`. Raises ParamsError, one line for each finding."""
    path = Path(path)
    return parse(_read(path), path, overrides)


def parse(text: str, path: Path, overrides: Sequence[str] = ()) -> Params:
    """The same of a text; `path` is where errors say it is from."""
    raw = _parse(path, text)
    given = dict(_override(raw, each) for each in overrides)
    try:
        params = Params.model_validate(raw)
        findings = list(dict.fromkeys(check.references(params)))
    except ValidationError as error:
        findings = [_explain(each) for each in error.errors()]
    if findings:
        lines = _lines(text)
        raise ParamsError("\n".join(_where(path, lines, given, loc) + message for loc, message in findings))
    return params


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > SIZE_LIMIT:
            raise ParamsError(f"{path}: {len(data):,} bytes; at most {SIZE_LIMIT:,} are read")
        return data.decode()
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; pass --params FILE, or go where params.yaml is") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        depth = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            named = isinstance(event, AliasEvent) or getattr(event, "anchor", None)
            if named or depth > DEPTH_LIMIT:
                what = "an alias (*name) or anchor (&name)" if named else f"more than {DEPTH_LIMIT} levels"
                raise ParamsError(f"{path}:{event.start_mark.line + 1}: {what}; write the value out")
        raw = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        line = f":{mark.line + 1}" if mark else ""
        raise ParamsError(f"{path}{line}: {problem.splitlines()[0]}") from None
    except (RecursionError, ValueError) as error:
        raise ParamsError(f"{path}: not YAML that can be read ({error})") from None
    if not isinstance(raw or {}, dict):
        raise ParamsError(f"{path}:1: expected sections such as `data:` at the top, got {type(raw).__name__}")
    return raw or {}


def _override(raw: dict[str, Any], text: str) -> tuple[Loc, str]:
    key, equals, value = text.partition("=")
    *sections, last = loc = tuple(key.split("."))
    if not equals or not all(loc):
        raise ParamsError(f"-S {text}: write KEY=VALUE, e.g. -S seed=1")
    for section in sections:
        if not isinstance(raw.setdefault(section, {}), dict):
            raise ParamsError(f"-S {text}: {section} is a value, not a section")
        raw = raw[section]
    raw[last] = _parse(Path("-S " + text), f"x: {value}")["x"]
    return loc, text


def _explain(error: Any) -> tuple[Loc, str]:
    loc = tuple(str(part) for part in error["loc"] if part != "[key]")
    message = error["msg"]
    if error["type"] == "extra_forbidden":
        message = check.unknown(loc[-1], _known(loc[:-1]))
    elif "[key]" in error["loc"] and not isinstance(error["input"], str):
        message = f'quote this name ("{loc[-1]}"): DVC ignores keys that are not strings'
    elif error["type"] in ("model_type", "dict_type"):
        message = f"this is a section: it holds `key: value` lines (got {error['input']!r})"
    elif not isinstance(error["input"], dict):
        message += f" (got {error['input']!r})"
    return loc, message


def _known(loc: Loc) -> list[str]:
    """The keys that the section at `loc` may have."""
    model: type[BaseModel] = Params
    for part in loc:
        field = _by_key(model).get(part)
        if field is not None:  # otherwise `part` is the name of a run or a round, and the model stays
            model = next(iter(_models(field.annotation)), model)
    return list(_by_key(model))


def _by_key(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside X, X | None, dict[str, X]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _lines(text: str) -> Any:
    """The file as nested mappings that remember their lines."""
    return YAML(typ="rt", pure=True).load(text)


def _where(path: Path, lines: Any, given: dict[Loc, str], loc: Loc) -> str:
    """`file:line: key: `, or the `-S` that the value came from."""
    dotted, line, found = ".".join(loc) + ": " if loc else "", None, 0
    for part in loc:
        key = next((k for k in lines if str(k) == part), None) if isinstance(lines, dict) else None
        if key is None:
            break
        line, lines, found = lines.lc.key(key)[0] + 1, lines[key], found + 1
    for place, text in given.items():  # it set this, or a section around it, or a section that the file does not have
        if place == loc[: len(place)] or (found < len(loc) and place[: len(loc)] == loc):
            return f"-S {text}: {dotted}"
    return f"{path}:{line}: {dotted}" if line else f"{path}: {dotted}"

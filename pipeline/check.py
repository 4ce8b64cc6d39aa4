"""What the sections of params.yaml say of one another: names that must exist, knobs and views that a method has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, create_model

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.params import Params, Training
from pipeline.views import recipe

Loc = tuple[str, ...]
Finding = tuple[Loc, str]
TAKEN = ("scratch", "finetune", "baseline")
SPLITS = ("labelled", "unlabelled", "val", "test")


def unknown(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, 1, 0.5)
    return "unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known) or 'none'}")


def references(params: Params) -> Iterator[Finding]:
    """Every wrong reference, as (place, message)."""
    runs = list(params.pretrain)
    for name in params.more:
        if name in SPLITS:
            yield ("more", name), f"the name {name!r} is taken; choose another"
    for name, run in params.pretrain.items():
        here: Loc = ("pretrain", name)
        if name in TAKEN or name.startswith("student-"):
            yield here, f"the name {name!r} is taken; choose another"
        yield from _one_of((*here, "from"), run.start, ["scratch", *(r for r in runs if r != name)])
        yield from _one_of((*here, "images"), run.images, ["unlabelled", *params.more])
        yield from _method(here, run, run.method, "pretext")
    yield from _circles(params)
    yield from _one_of(("finetune", "from"), params.finetune.start, ["scratch", *runs])
    yield from _method(("finetune",), params.finetune, params.finetune.method, "semi")
    made = ["finetune", "baseline"]
    methods, before = {each.method for each in params.rounds.values()}, dict[str, list[str]]()
    for name, each in params.rounds.items():
        here = ("rounds", name)
        yield from _one_of((*here, "teacher"), each.teacher, made)
        yield from _one_of((*here, "from"), each.start, ["scratch", *runs, *made])
        both = params.round_distill(name)
        for loc, message in _method((*here, "distill"), both, each.method, "distill", (*here, "method")):
            if len(loc) < 5 or loc[4] in getattr(each.distill, loc[3]):
                yield loc, message
            else:  # the common section says it
                whose = f" (for {each.method}, round {name}): give it to the rounds that have it, each in its `distill`"
                yield loc[2:], message + whose * (len(methods) > 1)
        before[name], made = list(made), [*made, f"student-{name}"]
    yield from _teachers(params, before)
    yield from _looks(params)
    yield from _repeats(params)
    yield from _one_of(("final",), params.final, made)
    ways = [way for way in ("labels_per_class", "label_fraction", "labels") if getattr(params.data, way)]
    for way in ways[1:]:
        yield ("data", way), f"{ways[0]} is given too; keep one of the two"


def _teachers(params: Params, before: dict[str, list[str]]) -> Iterator[Finding]:
    """`before`: the models that can teach in each round."""
    for name, each in params.teachers.items():
        here: Loc = ("teachers", name)
        if name in params.rounds:
            yield here, f"the name {name!r} is that of a round; choose another"
        if each.round not in before:
            yield (*here, "round"), unknown(each.round, before)
            continue
        yield from _one_of((*here, "teacher"), each.teacher, before[each.round])
        if params.round_teachers(each.round).count(each.teacher) > 1:
            yield (*here, "teacher"), f"{each.teacher} teaches round {each.round} already; name another"


def _looks(params: Params) -> Iterator[Finding]:
    """What teachers are shown, where it is said."""
    sections: dict[Loc, list[str]] = {("label",): params.label.views}
    sections |= {("rounds", name, "label"): each.label.views for name, each in params.rounds.items()}
    sections |= {("teachers", name, "label"): each.label.views for name, each in params.teachers.items()}
    for here, recipes in sections.items():
        for text in recipes:
            yield from _recipe((*here, "views"), text)


def _repeats(params: Params) -> Iterator[Finding]:
    """Of every trained stage, and of a round where it is the round that says it."""
    stages: dict[Loc, Training] = {("pretrain", name): run for name, run in params.pretrain.items()}
    stages |= {("finetune",): params.finetune, ("distill",): params.distill}
    for name, each in params.rounds.items():
        if each.distill.model_fields_set & {"batch", "repeats"}:
            stages["rounds", name, "distill"] = params.round_distill(name)
    for here, stage in stages.items():
        if stage.batch % stage.repeats:
            yield (*here, "repeats"), f"a batch of {stage.batch} cannot hold each image {stage.repeats} times"


def _one_of(loc: Loc, value: str, known: list[str]) -> Iterator[Finding]:
    if value not in known:
        yield loc, f"{value!r} is not made by then; choose one of {', '.join(known)}"


def _circles(params: Params) -> Iterator[Finding]:
    for name, run in params.pretrain.items():
        seen = {name}
        while run.start in params.pretrain and run.start not in seen:
            seen.add(run.start)
            run = params.pretrain[run.start]
        if run.start == name:
            yield ("pretrain", name, "from"), f"the runs {', '.join(sorted(seen))} build on one another in a circle"


def _method(here: Loc, stage: Training, name: str, family: str, named: Loc | None = None) -> Iterator[Finding]:
    try:
        entry = catalogue.find(name, family)
    except ParamsError as error:
        yield named or (*here, "method"), str(error)
        return
    try:
        knobs_model(entry).model_validate(stage.knobs)
    except ValidationError as error:
        for each in error.errors():
            loc = (*here, "knobs", str(each["loc"][0]))
            if each["type"] == "extra_forbidden":
                yield loc, unknown(loc[-1], entry.knobs)
            else:
                yield loc, f"{each['msg']} (got {each['input']!r})"
    views = entry.labelled | entry.unlabelled
    for view, text in stage.views.items():
        if view not in views:
            yield (*here, "views", view), unknown(view, views)
        else:
            yield from _recipe((*here, "views", view), text)


def _recipe(here: Loc, text: str) -> Iterator[Finding]:
    try:
        recipe.parse(text)
    except ParamsError as error:
        yield here, str(error)


def knobs_model(entry: catalogue.Entry) -> Any:
    """The schema of a method's knobs, from the signature of its `__init__`: no number among them may be negative."""
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    fields: dict[str, Any] = {
        knob: (Annotated[kind, Field(ge=0)] if kind in (int, float) else kind, default)
        for knob, (kind, default) in entry.knobs.items()
    }
    return create_model(f"{entry.name} knobs", __config__=config, **fields)

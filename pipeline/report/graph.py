"""The graph of the stages: from the data on the left to the last student on the right."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from pipeline.report.numbers import clip, duration, percent
from pipeline.report.run import Run
from pipeline.report.svg import drawing, number, tag, text

WIDTH, HEIGHT, ACROSS, DOWN = 112, 58, 140, 84


@dataclass
class Stage:
    """`inputs` are what it learns from, `start` is where its weights begin."""

    name: str
    words: str
    inputs: list[str]
    start: str | None = None
    column: int = 0
    row: int = 0
    seconds: float | None = None
    score: float | None = None
    after: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """Where its solid lines come from."""
        return self.inputs or ([self.start] if self.start else [])


def stages(run: Run) -> dict[str, Stage]:
    params = run.params
    found = [Stage("prepare", "shards", [])]
    for name, each in params.pretrain.items():
        found.append(Stage(name, each.method if each.method != name else "encoder", ["prepare"], each.start))
    found.append(Stage("finetune", params.finetune.method, ["prepare"], params.finetune.start))
    found.append(Stage("baseline", params.finetune.method, ["prepare"]))
    for name, turn in params.rounds.items():
        found.append(Stage(f"label-{name}", "labels", params.round_teachers(name)))
        found.append(Stage(f"student-{name}", turn.method, [f"label-{name}"], turn.start))
    nodes = {stage.name: stage for stage in found}
    for stage in found:
        stage.start = stage.start if stage.start in nodes else None
        stage.after = [name for name in (*stage.inputs, stage.start) if name]
        stage.column = max((nodes[name].column + 1 for name in stage.after), default=0)
        stage.seconds = run.times.get(stage.name, {}).get("seconds")
        if stage.name in run.models:
            stage.score = run.models[stage.name].metrics["top1"]
        if stage.start and stage.inputs == ["prepare"]:
            stage.inputs = []  # everything reads the shards; the line from the weights says enough
    _rows(nodes, run.final.name)
    return nodes


def _rows(nodes: dict[str, Stage], final: str) -> None:
    """The ancestors of the final model lie on the first row, the others on the next row that has room."""
    spine = [final]
    while sources := nodes[spine[-1]].sources:
        spine.append(sources[0])
    taken = {(nodes[each].column, 0) for each in spine}
    for stage in nodes.values():
        if stage.name not in spine:
            stage.row = next(row for row in range(1, len(nodes)) if (stage.column, row) not in taken)
            taken.add((stage.column, stage.row))


def draw(run: Run) -> Markup:
    nodes = stages(run)
    longest = max((stage.seconds or 0 for stage in nodes.values()), default=0) or 1
    jumps = [(s, s.start) for s in nodes.values() if s.start and s.inputs]
    top = 14 + 20 * len(jumps)
    parts: list[Markup] = []
    place = {s.name: (4 + s.column * ACROSS, top + s.row * DOWN) for s in nodes.values()}
    for stage in nodes.values():
        x, y = place[stage.name][0] - 6, place[stage.name][1] + HEIGHT / 2
        for source in stage.sources:
            a, b = place[source][0] + WIDTH, place[source][1] + HEIGHT / 2
            bend = 14 if b != y else (x - a) / 2
            path = f"M{a} {number(b)} C{number(a + bend)} {number(b)} {number(x - bend)} {number(y)} {x} {number(y)}"
            parts.append(tag("path", d=path, class_="edge", marker_end="url(#tip)"))
    for level, (stage, start) in enumerate(jumps):
        x, y = place[stage.name]
        a, b = place[start][0] + WIDTH, place[start][1] + 14
        up, end = 10 + 18 * level, x + WIDTH / 2
        rise = f"M{a} {b} h2 q8 0 8 -8 V{up + 8} q0 -8 8 -8"
        path = f"{rise} H{number(end - 8)} q8 0 8 8 V{y - 6}"
        parts.append(tag("path", d=path, class_="edge start", marker_end="url(#tip)"))
    for stage in nodes.values():
        parts += _box(stage, *place[stage.name], longest, stage.name == run.final.name)
    shape = tag("path", d="M0 0 L7 3.5 L0 7 z", class_="tip")
    tip = tag("marker", shape, id="tip", markerWidth=8, markerHeight=8, refX=5, refY=3.5, orient="auto")
    width = 8 + max(s.column for s in nodes.values()) * ACROSS + WIDTH
    height = top + max(s.row for s in nodes.values()) * DOWN + HEIGHT + 6
    told = "; ".join(f"{s.name} from {' and '.join(s.after) or 'the source'}" for s in nodes.values())
    return drawing(width, height, f"Graph of the stages: {told}", [tag("defs", tip), *parts], least=0.78)


def _box(stage: Stage, x: float, y: float, longest: float, final: bool) -> list[Markup]:
    about = f"{stage.name} ({stage.words}): {duration(stage.seconds)}"
    title, line = (
        clip(stage.name, 14),
        f"{percent(stage.score)} %" if stage.score is not None else clip(stage.words, 10),
    )
    kind = "node final" if final else "node"
    parts = [
        tag("rect", tag("title", about), x=x, y=y, width=WIDTH, height=HEIGHT, rx=7, class_=kind),
        text(x + 10, y + 20, title, "node-name"),
        text(x + 10, y + 38, line, "node-score" if stage.score is not None else "node-words"),
    ]
    if stage.seconds is not None:
        share = max(2.0, (WIDTH - 20) * stage.seconds / longest)
        parts.append(text(x + WIDTH - 10, y + 38, duration(stage.seconds), "node-words", "end"))
        parts.append(tag("rect", x=x + 10, y=y + 47, width=WIDTH - 20, height=3, rx=1.5, class_="track"))
        parts.append(tag("rect", x=x + 10, y=y + 47, width=share, height=3, rx=1.5, class_="spent"))
    return parts

"""N1: NaN or Inf in the loss, a gradient or an input: every rank stops in that step, before the optimiser."""

import random
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.harness import STEPS, TRAINED, as_rank, free_port, saved, stage

PLACES = ("loss", "gradient", "input")


def poison(place: str, step: int, value: float, ranks: tuple[int, ...] = (0,)) -> None:
    """A hook."""
    from pipeline.data.batches import Batches
    from pipeline.engine import ranks as processes
    from pipeline.methods.method import Method

    now = {"step": -1}
    at, forward = Batches.at, Method.forward

    def due() -> bool:
        return now["step"] == step and processes.rank() in ranks

    def poisoned_at(self, n, rows=None):
        now["step"] = n
        batch = at(self, n, rows)
        if place == "input" and due():
            first = next(view for view in batch.values() if view.ndim == 4)
            first[0, 0, 0, 0] = value
        return batch

    def poisoned_forward(self, **views):
        loss = forward(self, **views)
        if due() and place == "loss":
            return loss * value
        if due() and place == "gradient":
            parameter = next(p for p in self.parameters() if p.requires_grad)
            handle = parameter.register_hook(lambda gradient: (handle.remove(), gradient * value)[1])
        return loss

    Batches.at, Method.forward = poisoned_at, poisoned_forward


def count_updates(path: Path) -> None:
    """A hook: one byte for every step of an optimiser."""
    original = torch.optim.SGD.step

    def step(self, *args):
        with open(path, "ab") as file:
            file.write(b".")
        return original(self, *args)

    torch.optim.SGD.step = step


def stopped_too_late(forks, here, name, place, step, value, tmp_path, *hooks) -> str:
    updates = tmp_path / f"updates-{here.folder.name}"
    hooks = [partial(count_updates, updates), partial(poison, place, step, value), *hooks]
    child = forks.start(stage, here.folder, name, hooks=hooks)
    if (code := forks.wait(child)) != 70:
        return f"exit code {code}: {child.said}"
    if updates.stat().st_size != step:
        return f"{updates.stat().st_size} updates before step {step}"
    tensors, about = saved(here)
    if about["step"] != step or f"step {step}: " not in child.said:
        return f"the state is of step {about['step']}, not {step}: {child.said}"
    return "" if all(t.isfinite().all() for t in tensors.values()) else "the state is not finite"


@pytest.mark.faults
@pytest.mark.parametrize("place", PLACES)
def test_stops_before_the_optimiser(forks, template, world, tmp_path, place, dose):
    draw = random.Random(place)
    for _ in range(dose(2, 34)):
        name, step = draw.choice(TRAINED), draw.randrange(1, STEPS)
        here, value = world(name), draw.choice((float("nan"), float("inf"), float("-inf")))
        wrong = stopped_too_late(forks, here, name, place, step, value, tmp_path)
        assert not wrong, f"{name}, {value} in the {place}: {wrong}"
        assert forks.run(stage, here.folder, name) == 0
        assert here.digests(name) == template.digests(name)


@pytest.mark.parametrize("place", PLACES)
def test_on_every_rank(forks, world, tmp_path, place):
    """Only the second of two processes meets it; both stop in the same step."""
    here, port = world("finetune"), free_port()
    updates = [tmp_path / f"updates-{rank}" for rank in range(2)]
    children = [
        forks.start(
            stage,
            here.folder,
            "finetune",
            hooks=[
                partial(as_rank, rank, 2, port),
                partial(count_updates, updates[rank]),
                partial(poison, place, 4, float("nan"), (1,)),
            ],
        )
        for rank in range(2)
    ]
    assert [forks.wait(child) for child in children] == [70, 70], [child.said for child in children]
    assert all("step 4: " in child.said for child in children)
    assert [path.stat().st_size for path in updates] == [4, 4]
    tensors, about = saved(here)
    assert about["step"] == 4 and all(t.isfinite().all() for t in tensors.values())


def looks_away() -> None:
    from pipeline.engine import ranks

    ranks.agree = lambda everyone, *anyone: (True, *anyone)


def test_mutant_is_seen(forks, world, tmp_path):
    assert stopped_too_late(forks, world("finetune"), "finetune", "loss", 3, float("nan"), tmp_path, looks_away)

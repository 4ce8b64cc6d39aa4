"""R3: SIGTERM at any moment: saved at the next step boundary, exit code 143; then the bytes of an undisturbed run."""

import os
import random
import signal
import time
from functools import partial

import pytest

from pipeline.engine import signals
from tests.harness import STAGES, STEPS, TRAINED, at_step, saved, stage, terminate


def twice() -> None:
    terminate()
    terminate()


def while_saving(number: int) -> None:
    """A hook: the signal comes between writing a file and renaming it."""
    original, seen = os.replace, iter(range(10_000))

    def replace(source, target):
        if next(seen) == number:
            terminate()
        original(source, target)

    os.replace = replace


@pytest.mark.parametrize("name", TRAINED)
def test_saved_at_the_next_boundary(forks, template, world, name):
    here, step = world(name), random.Random(name).randrange(STEPS - 2)
    for at, act in ((step, terminate), (STEPS - 2, twice)):
        child = forks.start(stage, here.folder, name, hooks=[partial(at_step, at, act)])
        assert forks.wait(child) == 143, child.said
        assert saved(here)[1]["step"] == at + 1
        assert f"stopped after step {at + 1} of {STEPS}" in child.said
    assert forks.run(stage, here.folder, name) == 0
    assert here.digests(name) == template.digests(name)
    assert here.litter() == []


def test_saved_although_asked_while_saving(forks, template, world):
    """Two files are renamed in each save; the signal is seen in the step that follows."""
    for number in (0, 1, 4, 5):
        here = world("finetune")
        assert forks.run(stage, here.folder, "finetune", hooks=[partial(while_saving, number)]) == 143
        assert saved(here)[1]["step"] == number // 2 + 2
        assert forks.run(stage, here.folder, "finetune") == 0
        assert here.digests("finetune") == template.digests("finetune")


def test_asked_in_the_last_step(forks, template, world):
    """There is nothing left to save for: it finishes."""
    here = world("finetune")
    assert forks.run(stage, here.folder, "finetune", hooks=[partial(at_step, STEPS - 1, terminate)]) == 0
    assert here.digests("finetune") == template.digests("finetune")


@pytest.mark.faults
@pytest.mark.parametrize("name", STAGES)
def test_at_random(forks, template, world, name, dose):
    draw, here, started = random.Random(name), world(name), time.monotonic()
    assert forks.run(stage, here.folder, name) == 0
    span, codes = time.monotonic() - started, []
    while sum(code == 143 for code in codes) < dose(1, 25):
        here = world(name)
        for _ in range(4):
            child = forks.start(stage, here.folder, name)
            time.sleep(draw.uniform(0, 0.7 * span))
            for _ in range(draw.choice((1, 2))):
                child.kill(signal.SIGTERM)
            codes.append(forks.wait(child))
            assert codes[-1] in (0, 143, -15), child.said  # -15: before it began to listen, with nothing to save
            if codes[-1] == 0:
                break
        assert codes[-1] == 0 or forks.run(stage, here.folder, name) == 0
        assert here.digests(name) == template.digests(name)
        assert here.litter() == []
    print(f"{name}: {codes.count(143)} saved, {codes.count(0)} finished, {codes.count(-15)} before the start")


def deaf() -> None:
    signals.listening.__wrapped__.__globals__["signal"] = type("Deaf", (), {**vars(signal), "signal": lambda *a: None})


def hears_but_does_not_save() -> None:
    from pipeline.engine.checkpoint import Checkpoint

    original = Checkpoint.save
    Checkpoint.save = lambda self, step, *rest: original(self, step, *rest) if step <= 2 else None


def test_mutants_are_seen(forks, world):
    here, hooks = world("finetune"), [partial(at_step, 4, terminate)]
    assert forks.run(stage, here.folder, "finetune", hooks=[deaf, *hooks]) != 143
    here = world("finetune")
    assert forks.run(stage, here.folder, "finetune", hooks=[hears_but_does_not_save, *hooks]) == 143
    assert saved(here)[1]["step"] != 5

"""R1: SIGKILL at any moment, and the same command again, as often as it takes: the same bytes as if undisturbed."""

import random
import time
from functools import partial

import pytest

from pipeline import seed
from tests.harness import STAGES, STEPS, TRAINED, at_step, die, die_after_a_sidecar, stage


def kill_until_done(forks, world, name, draw: random.Random, span: float, most: int) -> tuple[int, int]:
    """Kill after up to `span` seconds, at most `most` times. Returns how many kills hit, and how many found a state."""
    kills = resumed = 0
    while kills < most:
        child = forks.start(stage, world.folder, name)
        time.sleep(draw.uniform(0, span))
        child.kill()
        code = forks.wait(child)
        if code == 0:
            return kills, resumed
        assert code == -9, child.said
        kills += 1
        resumed += any((world.data / "work").glob("label*/*.safetensors" if name == "label" else "*/LATEST.json"))
    assert forks.run(stage, world.folder, name) == 0
    return kills, resumed


@pytest.mark.faults
@pytest.mark.parametrize("name", STAGES)
def test_killed_at_random(forks, template, world, name, dose):
    draw, kills, resumed, started = random.Random(name), 0, 0, time.monotonic()
    assert forks.run(stage, world(name).folder, name) == 0
    span = time.monotonic() - started
    enough = dose(2, 15) if name in TRAINED else 0  # labelling is over in a moment here: the test below aims at it
    while kills < dose(8, 60) or resumed < enough:
        here = world(name)
        more = kill_until_done(forks, here, name, draw, span, most=6)
        kills, resumed = kills + more[0], resumed + more[1]
        assert here.digests(name) == template.digests(name)
        assert here.litter() == []
    print(f"{name}: {kills} kills, {resumed} of them after a save, {time.monotonic() - started:.1f} s")


@pytest.mark.parametrize("name", TRAINED)
def test_resumed_not_repeated(forks, template, world, name):
    """A run that was killed goes on from its last step: it must not merely start again."""
    here = world(name)
    assert forks.run(stage, here.folder, name, hooks=[partial(at_step, STEPS - 1, die)]) == -9
    assert forks.run(stage, here.folder, name, hooks=[partial(at_step, STEPS - 2, die)]) == 0
    assert here.digests(name) == template.digests(name)
    assert here.litter() == []


def test_finished_sidecars_are_kept(forks, template, world):
    """Killed after each sidecar in turn: every run makes one more, and none is made twice."""
    here, made = world("label"), {}
    while forks.run(stage, here.folder, "label", hooks=[die_after_a_sidecar]) == -9:
        now = {path.name: path.stat().st_ino for path in here.state().glob("*.safetensors")}
        assert len(now) == len(made) + 1 and made.items() <= now.items()
        made = now
    published = {
        path.name: path.stat().st_ino for path in (here.data / "labels" / "1" / "finetune").glob("*.safetensors")
    }
    assert published == made and len(made) > 1
    assert here.digests("label") == template.digests("label")
    assert here.litter() == []


def seed_nothing() -> None:
    seed.everything = lambda *purpose: None


def forget_momentum() -> None:
    from pipeline.engine import checkpoint

    original = checkpoint._unpack
    checkpoint._unpack = lambda method, optimiser, tensors, scalars: original(
        method, optimiser, {k: v for k, v in tensors.items() if k.startswith("method/")}, {}
    )


def forget_buffers() -> None:
    from pipeline.engine import checkpoint

    original = checkpoint._unpack

    def unpack(method, optimiser, tensors, scalars):
        fresh = {f"method/{name}": buffer.clone() for name, buffer in method.named_buffers()}
        original(method, optimiser, tensors | fresh, scalars)

    checkpoint._unpack = unpack


@pytest.mark.parametrize("mutant", [seed_nothing, forget_momentum, forget_buffers])
def test_mutants_are_seen(forks, world, mutant):
    """With a broken program the bytes differ, so the tests above can fail."""
    whole, broken = world("finetune"), world("finetune")
    assert forks.run(stage, whole.folder, "finetune", hooks=[mutant]) == 0
    assert forks.run(stage, broken.folder, "finetune", hooks=[mutant, partial(at_step, 4, die)]) == -9
    assert forks.run(stage, broken.folder, "finetune", hooks=[mutant]) == 0
    assert whole.digests("finetune") != broken.digests("finetune")

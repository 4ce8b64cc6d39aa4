"""The state comes back as it was, or not at all."""

import pytest
import torch

from pipeline import files, params
from pipeline.engine import optimiser
from pipeline.engine.checkpoint import Checkpoint
from pipeline.errors import BadData, Diverged
from pipeline.methods.semi.supervised import Supervised

RECORD = {"history": [{"step": 0, "loss": 1.5}], "seconds": 2.5}


def pair(encoder, name, seed=0, steps=3):
    """A method and its optimiser, some steps from the start."""
    torch.manual_seed(seed)
    method = Supervised(encoder, classes=3)
    optim = optimiser.build(method, params.Optimiser(name=name))
    for _ in range(steps):
        optim.zero_grad()
        method(x=torch.randn(6, 1, 8, 8), y=torch.arange(6) % 3).backward()
        optim.step()
        method.remember()
    return method, optim


def flat(method, optim) -> list[torch.Tensor]:
    state = optim.state_dict()["state"]
    values = [value for number in sorted(state) for _, value in sorted(state[number].items()) if value is not None]
    return [torch.as_tensor(value) for value in (*method.state_dict().values(), *values)]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_round_trip(tmp_path, encoder, name):
    from copy import deepcopy

    method, optim = pair(encoder, name)
    Checkpoint(tmp_path, 0).save(3, method, optim, RECORD)
    other, fresh = pair(deepcopy(encoder), name, seed=1, steps=0)
    assert Checkpoint(tmp_path, 0).restore(other, fresh) == (3, RECORD)
    before, after = flat(method, optim), flat(other, fresh)
    assert len(before) == len(after) and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_nothing_saved(tmp_path, encoder):
    assert Checkpoint(tmp_path, 0).restore(*pair(encoder, "sgd", steps=0)) == (0, {})


def test_only_the_last_state_is_kept(tmp_path, encoder):
    method, optim = pair(encoder, "sgd")
    for step in (1, 2, 10):
        Checkpoint(tmp_path, 0).save(step, method, optim, RECORD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LATEST.json", "step-000000010.safetensors"]


def test_due_by_the_clock(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path, 60.0)
    now[0] = 159.0
    assert not checkpoint.due()
    now[0] = 160.0
    assert checkpoint.due()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.unlink()], ids=["cut", "flipped", "missing"])
def test_damaged_tensors(tmp_path, encoder, damage):
    method, optim = pair(encoder, "sgd")
    Checkpoint(tmp_path, 0).save(3, method, optim, RECORD)
    damage(tmp_path / "step-000000003.safetensors")
    with pytest.raises(BadData, match=r"step-000000003.*remove"):
        Checkpoint(tmp_path, 0).restore(method, optim)


def test_every_flipped_bit_of_latest_is_noticed(tmp_path, encoder):
    method, optim = pair(encoder, "sgd")
    Checkpoint(tmp_path, 0).save(3, method, optim, RECORD)
    latest = tmp_path / "LATEST.json"
    good = latest.read_bytes()
    says = files.read_json(latest)
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        latest.write_bytes(bad)
        try:
            if files.read_json(latest) == says:
                continue  # white space
        except BadData:
            continue
        with pytest.raises(BadData):
            Checkpoint(tmp_path, 0).restore(method, optim)


@pytest.mark.parametrize("text", ["[]", '{"file": 3, "sha256": 4}', '{"file": "..", "sha256": ""}', "{}", "null"])
def test_latest_of_another_shape(tmp_path, encoder, text):
    (tmp_path / "LATEST.json").write_text(text)
    with pytest.raises(BadData):
        Checkpoint(tmp_path, 0).restore(*pair(encoder, "sgd", steps=0))


def test_a_state_that_is_not_finite_is_refused_and_the_last_one_stays(tmp_path, encoder):
    method, optim = pair(encoder, "sgd")
    Checkpoint(tmp_path, 0).save(3, method, optim, RECORD)
    with torch.no_grad():
        next(method.parameters()).view(-1)[0] = float("inf")
    with pytest.raises(Diverged, match=r"online\..* is not finite after step 4"):
        Checkpoint(tmp_path, 0).save(4, method, optim, RECORD)
    assert files.read_json(tmp_path / "LATEST.json")["file"] == "step-000000003.safetensors"

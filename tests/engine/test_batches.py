"""What a step sees is a pure function of its number."""

from collections import Counter

import pytest
import torch

from pipeline.data.batches import Batches, Stream
from pipeline.data.images import Images
from pipeline.views.view import View


def rows_seen(stream: Stream, steps) -> list[int]:
    return [row for step in steps for row in stream.at(step, 0, "unlabelled").tolist()]


def stream(n=10, batch=4, rows=None) -> Stream:
    images = Images(torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 1, 8, 8))
    return Stream(images, torch.arange(n) if rows is None else rows, batch, {"u": View("flip", 8, [0.0], [1.0])})


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 10), (3, 8), (7, 1), (5, 12)])
def test_epochs_are_exact_and_each_in_its_own_order(n, batch):
    seen = rows_seen(stream(n, batch), range(n * 3))  # n * 3 steps are 3 * batch whole epochs
    epochs = [tuple(seen[i : i + n]) for i in range(0, len(seen), n)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert n < 5 or len(set(epochs)) > len(epochs) // 2


def test_repeated_rows_are_seen_as_often_as_they_stand():
    seen = rows_seen(stream(rows=torch.tensor([1, 1, 1, 8, 9, 9])), range(3))
    assert Counter(seen) == {1: 6, 8: 2, 9: 4}


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 5), (3, 8), (10, 10)])
def test_starts_epoch_where_a_step_holds_the_first_rows_of_one(n, batch):
    """At the first step that begins after the end of an epoch, or at that end."""
    starts = [step for step in range(30) if stream(n, batch).starts_epoch(step)]
    epochs = [step * batch // n for step in range(30)]
    assert starts == [step for step in range(30) if step == 0 or epochs[step] > epochs[step - 1]]
    assert starts[:2] == [0, -(-n // batch)]


def test_pure_in_the_step(batches):
    torch.manual_seed(1)
    forward = [batches().at(step) for step in range(6)]
    one = batches()
    for step in (5, 0, 3, 3):
        torch.manual_seed(step)
        again = one.at(step)
        assert all(torch.equal(again[key], forward[step][key]) for key in ("x", "y"))
    assert not torch.equal(forward[0]["x"], forward[4]["x"])
    assert not torch.equal(batches(seed=1).at(0)["y"], forward[0]["y"])


def test_ambient_randomness_is_neither_used_nor_changed(batches):
    before = torch.get_rng_state()
    batches(recipe="crop(.5)|flip|jitter(.4)").at(2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("recipe", ["crop(.5)|flip", "affine(15, .125, .8, 1.2, 10)"])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_world_size_does_not_change_what_is_sampled(batches, recipe, world):
    whole, each = batches(recipe=recipe).at(3), 12 // world
    parts = [batches(recipe=recipe, part=slice(r * each, (r + 1) * each)).at(3) for r in range(world)]
    for key in ("x", "y"):
        assert torch.equal(torch.cat([part[key] for part in parts]), whole[key])


def test_labels_go_with_their_images(batches, pixels):
    batch = batches(recipe="identity" if False else "flip").at(1)
    del pixels
    assert batch["x"].shape == (12, 1, 8, 8) and batch["x"].is_contiguous(memory_format=torch.channels_last)


def test_columns_and_index_name_the_rows_of_the_images():
    one = stream()
    one.columns = {"teacher": lambda rows: rows * 10}
    batch = Batches({"unlabelled": one}, 0, torch.device("cpu"), {"unlabelled": slice(1, 3)}, index=True).at(2)
    pictured = batch["u"][:, 0, 0, 0] * 255
    assert torch.equal(pictured.round().long(), batch["index"])
    assert torch.equal(batch["teacher"], batch["index"] * 10) and len(batch["index"]) == 2

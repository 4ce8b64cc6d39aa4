"""What a step sees is a pure function of its number."""

from collections import Counter

import pytest
import torch

from pipeline.data.batches import Batches, Stream
from pipeline.data.images import Images
from pipeline.views.view import View


def rows_seen(stream: Stream, steps) -> list[int]:
    return [row for step in steps for row in stream.at(step, 0, "unlabelled").tolist()]


def stream(n=10, batch=4, rows=None, repeats=1) -> Stream:
    images = Images(torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 1, 8, 8))
    rows = torch.arange(n) if rows is None else rows
    return Stream(images, rows, batch, {"u": View("flip", 8, [0.0], [1.0])}, repeats=repeats)


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 10), (3, 8), (7, 1), (5, 12)])
def test_epochs_are_exact_and_each_in_its_own_order(n, batch):
    seen = rows_seen(stream(n, batch), range(n * 3))  # n * 3 steps are 3 * batch whole epochs
    epochs = [tuple(seen[i : i + n]) for i in range(0, len(seen), n)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert n < 5 or len(set(epochs)) > len(epochs) // 2


def test_repeated_rows_are_seen_as_often_as_they_stand():
    seen = rows_seen(stream(rows=torch.tensor([1, 1, 1, 8, 9, 9])), range(3))
    assert Counter(seen) == {1: 6, 8: 2, 9: 4}


@pytest.mark.parametrize("n, batch, repeats", [(10, 12, 3), (10, 6, 2), (12, 12, 3), (3, 12, 3), (7, 4, 4)])
def test_an_epoch_of_repeats_shows_every_image_so_often_and_those_of_a_batch_together(n, batch, repeats):
    """Repeated augmentation, arXiv:1901.09335."""
    one, per_step = stream(n, batch, repeats=repeats), batch // repeats
    seen = [one.at(step, 0, "unlabelled").view(repeats, per_step) for step in range(3 * n)]  # 3 * per_step epochs
    assert all((copies == copies[0]).all() for copies in seen)
    once = torch.cat([copies[0] for copies in seen])
    assert all(sorted(epoch.tolist()) == list(range(n)) for epoch in once.split(n))
    plain = stream(n, per_step)
    assert once.tolist() == rows_seen(plain, range(3 * n)), "in the order of smaller batches without repeats"
    starts = [[step for step in range(3 * n) if each.starts_epoch(step)] for each in (one, plain)]
    assert starts[0] == starts[1]


def test_repeats_are_views_of_their_own_and_spread_over_the_processes(batches):
    """From as many processes as repeats on, none has two of one image; and no process changes what another sees."""
    whole = batches(recipe="crop(.3)|flip", repeats=3).at(5)
    copies, labels = whole["x"].view(3, 4, 64), whole["y"].view(3, 4)
    assert torch.equal(labels[0], labels[1]) and torch.equal(labels[0], labels[2])
    assert all(not torch.allclose(copies[a], copies[b], atol=0.1) for a, b in ((0, 1), (0, 2), (1, 2)))
    for world in (1, 2, 3, 4):
        each = 12 // world
        parts = [slice(r * each, (r + 1) * each) for r in range(world)]
        made = [batches(recipe="crop(.3)|flip", repeats=3, part=part).at(5) for part in parts]
        assert all(torch.equal(torch.cat([part[key] for part in made]), whole[key]) for key in ("x", "y"))
        (stream,) = batches(repeats=3).streams.values()
        rows = stream.at(5, 0, "labelled")
        assert (max(each - len(rows[part].unique()) for part in parts) == 0) == (world >= 3)


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 5), (3, 8), (10, 10)])
def test_starts_epoch_where_a_step_holds_the_first_rows_of_one(n, batch):
    """At the first step that begins after the end of an epoch, or at that end."""
    starts = [step for step in range(30) if stream(n, batch).starts_epoch(step)]
    epochs = [step * batch // n for step in range(30)]
    assert starts == [step for step in range(30) if step == 0 or epochs[step] > epochs[step - 1]]
    assert starts[:2] == [0, -(-n // batch)]


@pytest.mark.parametrize("repeats", [1, 3])
def test_pure_in_the_step(batches, repeats):
    """So a run that goes on from a checkpoint sees what it would have seen."""
    torch.manual_seed(1)
    forward = [batches(repeats=repeats).at(step) for step in range(6)]
    one = batches(repeats=repeats)
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

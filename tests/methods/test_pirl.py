"""PIRL: an image and its puzzle, or its turned copy, against one row of a memory bank."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.losses import unit
from pipeline.nets.tiles import tiles, turned
from tests.contract import small_task as task

ENTRY = catalogue.find("pirl", "pretext")
TRANSFORMS = ("jigsaw", "rotation", "both")


def seen(n, seed=0):
    draw = torch.Generator().manual_seed(seed)
    image, moved = torch.randn(2, n, 1, 8, 8, generator=draw)
    return {"image": image, "moved": moved, "index": torch.randperm(1797, generator=draw)[:n]}


def oracle_nce(v, memory, others, tau):
    """L_NCE of one embedding: -log h(v, memory) - sum over the others log(1 - h(v, other))."""
    positive, negative = np.exp(v @ memory / tau), np.exp(others @ v / tau)
    whole = positive + negative.sum()
    return -np.log(positive / whole) - np.log(1 - negative / whole).sum()


@pytest.mark.parametrize("transforms", TRANSFORMS)
@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("lam", (0.5, 0.2))
def test_the_loss_is_lambda_of_the_copy_and_the_rest_of_the_image(n, transforms, lam):
    method = task.method(ENTRY, transforms=transforms, dim=6, tau=0.3, negatives=20, lam=lam)
    batch, noise = seen(n), method.noise.rows().tolist()
    batch["index"][0] = noise[3]  # an image that is drawn as noise while it is seen
    with torch.no_grad():
        f = unit(method.online(batch["image"])).double().numpy()
        g = unit(method.transformed(batch["moved"])).double().numpy()
    rows, total = method.bank.rows.double().numpy(), 0.0
    for i, own in enumerate(batch["index"].tolist()):
        others = rows[[row for row in noise if row != own]]
        total += lam * oracle_nce(g[i], rows[own], others, 0.3) + (1 - lam) * oracle_nce(f[i], rows[own], others, 0.3)
    assert method(**batch).item() == pytest.approx(total / n, rel=1e-4)


def shown(method):
    """What the encoder is shown of the copy in a step, and the step's batch."""
    looked, batch = [], seen(4)
    handle = method.online.encoder.register_forward_pre_hook(lambda _, inputs: looked.append(inputs[0]))
    method(**batch)
    handle.remove()
    return looked[1], batch


@pytest.mark.parametrize("grid, tile", [(2, 3), (3, 2)])
def test_a_puzzle_shows_the_tiles_of_an_image_one_by_one(grid, tile):
    method = task.method(ENTRY, grid=grid)
    parts, batch = shown(method)
    luck = method.luck(batch["moved"], method.parts, 4)
    assert parts.shape == (4 * grid**2, 1, tile, tile)
    assert torch.equal(parts, tiles(batch["moved"], luck[..., 0].argsort(1), luck[..., 1:3]).flatten(0, 1))


def test_rotation_shows_the_whole_image_turned_and_both_shows_turned_tiles():
    whole, batch = shown(task.method(ENTRY, transforms="rotation"))
    ways = [{tuple(image.rot90(k, (1, 2)).flatten().tolist()) for k in range(4)} for image in batch["moved"]]
    assert whole.shape == (4, 1, 8, 8)
    assert all(tuple(image.flatten().tolist()) in four for image, four in zip(whole, ways, strict=True))
    method = task.method(ENTRY, transforms="both")
    parts, batch = shown(method)
    luck = method.luck(batch["moved"], method.parts, 4)
    cut = tiles(batch["moved"], luck[..., 0].argsort(1), luck[..., 1:3]).flatten(0, 1)
    quarters = (4 * luck[..., 3]).long().flatten()
    assert quarters.unique().tolist() == [0, 1, 2, 3] and torch.equal(parts, turned(cut, quarters))


def test_each_step_transforms_an_image_in_another_way():
    """Also where all rows of the bank are negatives in each step."""
    method, batch = task.method(ENTRY, negatives=1797), seen(8)
    first = method.luck(batch["moved"], method.parts, 4)
    method(**batch)
    assert torch.equal(method.luck(batch["moved"], method.parts, 4), first)
    method.remember()
    assert not (method.luck(batch["moved"], method.parts, 4) == first).any()


@pytest.mark.parametrize("side", (8, 32, 224))
def test_the_tiles_of_large_and_small_images_can_be_embedded(side):
    method, x = task.method(ENTRY, grid=3), torch.randn(2, 1, side, side)
    assert method.transformed(x).shape == (2, 128)


def test_the_bank_takes_the_image_and_never_its_copy():
    method, batch = task.method(ENTRY), seen(5)
    start = method.bank.rows.clone()
    method(**batch)
    assert torch.equal(method.bank.rows, start)
    with torch.no_grad():
        f = unit(method.online(batch["image"]))
    method.remember()
    index = batch["index"]
    torch.testing.assert_close(method.bank.rows[index], unit(0.5 * start[index] + 0.5 * f))
    torch.testing.assert_close(method.bank.rows.norm(dim=1), torch.ones(1797))
    others = torch.ones(1797, dtype=torch.bool)
    others[index] = False
    assert torch.equal(method.bank.rows[others], start[others])


def test_an_aligned_batch_costs_next_to_nothing():
    """stable-pretraining's PIRL has the positive among the negatives: ln 2 twice at best."""
    method = task.method(ENTRY, tau=0.04, dim=16, negatives=1797)
    eye = torch.eye(16)
    method.bank.rows.copy_(eye[8:].repeat(225, 1)[:1797])
    method.bank.rows[:4] = eye[:4]
    method.online, method.transformed = nn.Flatten(), lambda x: x
    batch = {"image": eye[:4], "moved": eye[:4], "index": torch.arange(4)}
    assert method(**batch) < 1e-3
    method.bank.rows[4:8] = eye[:4]
    assert method(**batch) > 1.3


def test_one_point_for_all_images_costs_chance():
    method, batch = task.method(ENTRY, transforms="rotation", negatives=50), seen(4)
    batch["index"][:] = method.noise.order[-1]  # not in the noise
    with torch.no_grad():
        for linear in (method.online.head[0], method.part):
            linear.weight.zero_()
        method.part.bias.copy_(method.online.head[0].bias)
        method.bank.rows.copy_(unit(method.part.bias).expand(1797, 128))
    assert method(**batch).item() == pytest.approx(method.chance, rel=1e-4)

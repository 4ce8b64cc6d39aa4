"""Relative position: in which of eight places around one patch of an image another one is."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder
from pipeline.nets.pairs import PLACES, layout, pairs
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("relative_position", "pretext")


def relative(size=32, channels=3, **knobs):
    torch.manual_seed(0)
    encoder = build_encoder(params.Encoder(args={"width": 4}), channels, size, [0.4] * channels, [0.2] * channels)
    return ENTRY.load()(encoder, **{"hidden": 16} | knobs)


def drawn(method, x):
    """Places, and both patches, of a step."""
    luck = method.luck(x, 5)
    place = (8 * luck[:, 0]).long()
    return place, method.guard(pairs(x, place, luck[:, 1:]))


def shown(method, x):
    looked = []
    handle = method.online.encoder.register_forward_pre_hook(lambda _, inputs: looked.append(inputs[0]))
    method(x=x)
    handle.remove()
    return looked


@pytest.mark.parametrize("colour", ("drop", "project", "none"))
@pytest.mark.parametrize("batch", (2, 3, 17))
def test_the_loss_is_the_cross_entropy_of_the_place(batch, colour):
    method, x = relative(colour=colour).eval(), torch.randn(batch, 3, 32, 32)
    place, patches = drawn(method, x)
    terms = []
    for both, answer in zip(patches, place.tolist(), strict=True):
        with torch.no_grad():
            first, second = (method.online(patch[None])[0] for patch in both)  # one by one
            logits = method.classifier(torch.cat([first, second])[None]).double().numpy()
        terms += list(oracle_cross_entropy(logits, np.eye(8)[[answer]]))
    assert method(x=x).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_network_that_knows_where_its_patches_are_pays_nothing():
    """Images of coordinates: the place is the sign of what is between the patches."""
    method = relative(channels=3, colour="none")
    y = torch.arange(32.0)[:, None].expand(32, 32)
    x = torch.stack([y, y.T, 0 * y]).expand(64, 3, 32, 32)

    def knows(z):
        first, second = z.view(-1, 2, 3)[:, :, :2].unbind(1)
        step = (second - first) / (layout(32).patch + layout(32).gap)
        return -100 * (step[:, None] - torch.tensor(PLACES)).square().sum(2)

    method.classifier.forward, method.online.forward = knows, lambda patch: patch.mean((2, 3))
    assert method(x=x) < 1e-3
    method.classifier.forward = lambda z: knows(z.view(-1, 2, 3).flip(1).flatten(1))  # the second before the first
    assert method(x=x) > 10


def test_guessing_costs_chance():
    method = relative()
    nn.init.zeros_(method.classifier[-1].weight), nn.init.zeros_(method.classifier[-1].bias)
    assert method(x=torch.randn(4, 3, 32, 32)).item() == pytest.approx(log(8)) == pytest.approx(method.chance)


def test_the_encoder_sees_patches_alone_all_in_one_forward():
    method, x = relative(), torch.randn(5, 3, 32, 32)
    (looked,) = shown(method, x)
    assert torch.equal(looked, drawn(method, x)[1].flatten(0, 1)) and looked.shape == (10, 3, 7, 7)


def test_neither_an_edge_nor_a_line_goes_on_in_the_next_patch():
    """Neighbouring pixels are never one in each patch, and how far the patches are apart is not always the same."""
    method, size = relative(96, colour="none"), 96
    x = torch.arange(float(size * size)).view(1, 1, size, size).expand(60, 3, size, size)
    first, second = (patch[:, 0].flatten(1).long() for patch in drawn(method, x)[1].unbind(1))
    apart = torch.stack(
        [(first // size)[:, :, None] - (second // size)[:, None], (first % size)[:, :, None] - (second % size)[:, None]]
    )
    nearest = apart.abs().amax(0).flatten(1).amin(1)
    _, gap, jitter = layout(size)
    assert nearest.min() == gap - jitter + 1 and nearest.min() > 2
    assert len(nearest.unique()) > 2 * jitter - 1 > 2


def fringe(place_of):
    """Images whose red and blue are green's copy, shifted outwards from the middle: what a simple lens does."""
    y = (torch.arange(32.0) - 15.5) / 15.5
    wave = lambda scale: torch.sin(5 * scale * y)[:, None] + torch.sin(4 * scale * y)[None]  # noqa: E731
    return torch.stack([wave(0.95), wave(1.0), wave(1.05)]).expand(place_of, 3, 32, 32).contiguous()


def test_fringes_of_colour_show_in_no_patch():
    """With drop, two channels of three do not depend on the image but by how strong their noise is."""
    x = fringe(64)
    for colour, visible in (("drop", False), ("none", True)):
        method = relative(colour=colour)
        patches = shown(method, x)[0].flatten(2)
        patches = patches - patches.mean(2, keepdim=True)
        strength = patches.norm(dim=2).sort(1).values
        relation = torch.stack([torch.corrcoef(patch)[[0, 0, 1], [1, 2, 2]].abs() for patch in patches])
        assert (strength[:, 1] > 0.1 * strength[:, 2]).float().mean().item() == visible
        assert (relation.median() > 0.9).item() == visible


def test_project_takes_green_against_magenta_out_and_grey_stays():
    method = relative(colour="project")
    tint = torch.tensor([-1.0, 2.0, -1.0]).view(3, 1, 1)
    grey = torch.randn(6, 1, 32, 32).expand(6, 3, 32, 32).contiguous()
    tinted = grey + tint * torch.randn(6, 1, 32, 32)
    (plain,), (cleaned,) = shown(method, grey), shown(method, tinted)
    torch.testing.assert_close(cleaned, plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(plain.std(1) < 1e-5, torch.ones_like(plain[:, 0], dtype=torch.bool))


def test_grey_images_are_seen_as_they_are():
    x = torch.randn(4, 1, 32, 32)
    losses = {colour: relative(channels=1, colour=colour)(x=x).item() for colour in ("drop", "project", "none")}
    assert len(set(losses.values())) == 1


def test_each_step_asks_for_other_places():
    method, x = relative(), torch.randn(64, 3, 32, 32)
    first, patches = drawn(method, x)
    method(x=x)
    assert torch.equal(drawn(method, x)[1], patches)
    method.remember()
    second, others = drawn(method, x)
    assert not torch.equal(first, second) and not torch.equal(others, patches)
    assert first.bincount(minlength=8).min() > 0


def test_small_images_are_said():
    with pytest.raises(ParamsError, match="do not fit into 7 pixels"):
        relative(7)


@pytest.mark.slow  # timm takes seconds to import
def test_an_encoder_of_one_image_size_cannot_see_patches():
    args = {"patch_size": 4, "depth": 1}
    encoder = build_encoder(params.Encoder(name="vit_tiny_patch16_224", args=args), 3, 32, [0.5] * 3, [0.25] * 3)
    with pytest.raises(ParamsError, match="cannot see patches of 7 pixels"):
        ENTRY.load()(encoder)


@pytest.mark.slow
def test_places_are_learned_even_of_two_by_two_pixels(tmp_path):
    """Of 8-pixel digits; places that are not those of the patches are not."""
    reached = {}
    for answers in ("true", "shuffled"):
        method = task.method(ENTRY, width=8)
        if answers == "shuffled":
            forward = method.classifier.forward
            method.classifier.forward = lambda z, forward=forward: forward(z.flip(0))
        record = task.train(method, task.batches(ENTRY, batch=128, gentle=True), tmp_path / answers, 100, lr=0.2)
        reached[answers] = sum(row["loss"] for row in record["history"][-10:]) / 10
    assert reached["true"] < method.chance - 0.5
    assert reached["shuffled"] > method.chance - 0.03

"""SimCLRv2: a deeper head that is kept in part, and negatives that are remembered."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.losses import unit
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from pipeline.nets.model import save_model
from pipeline.nets.start import start_encoder
from tests.contract import small_task as task

ENTRY = catalogue.find("simclr_v2", "pretext")


def oracle(a, b, memory, tau):
    """NT-Xent anchor by anchor, with the rows of `memory` among the negatives of each."""
    z, memory = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (np.concatenate([a, b]), memory))
    n, losses = len(a), []
    for i, anchor in enumerate(z):
        others = np.concatenate([np.delete(z, i, 0), memory]) @ anchor / tau
        losses.append(np.log(np.exp(others - others.max()).sum()) + others.max() - anchor @ z[(i + n) % (2 * n)] / tau)
    return np.mean(losses)


@pytest.mark.parametrize("memory", [0, 5, 128])
@pytest.mark.parametrize("size", [2, 3, 17])
def test_the_loss_is_nt_xent_with_the_memory_among_the_negatives(size, memory):
    method = task.method(ENTRY, dim=6, tau=0.2, memory=memory)
    a, b = torch.randn(2, size, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        za, zb = (method.online(x).double().numpy() for x in (a, b))
    keys = method.queue.keys.double().numpy() if memory else np.ones((0, 6))
    assert method(a=a, b=b).item() == pytest.approx(oracle(za, zb, keys, 0.2), rel=1e-5)


def test_its_floor_and_chance():
    """One point costs ln(2N - 1 + K); an aligned pair that is orthogonal to all else, the floor."""
    method = task.method(ENTRY, dim=32, tau=0.1, memory=9)
    images = torch.eye(32)[:4].reshape(4, 1, 4, 8)
    method.online = nn.Flatten()
    method.queue.keys.copy_(torch.eye(32)[20:29])
    floor = np.log(np.exp(1 / 0.1) + 2 * 4 - 2 + 9) - 1 / 0.1
    assert method(a=images, b=images).item() == pytest.approx(floor, rel=1e-3)
    point = torch.ones(4, 1, 4, 8)
    method.queue.keys.copy_(unit(torch.ones(9, 32)))
    assert method(a=point, b=point).item() == pytest.approx(method.chance) == np.log(2 * 4 - 1 + 9)


def test_a_memory_that_holds_the_batch_already_would_show_in_the_floor():
    """Appended before it is read, the queue gives each anchor its own positive as a negative: ln 2 of loss at least."""
    method = task.method(ENTRY, dim=32, tau=0.1, memory=4)
    images = torch.eye(32)[:4].reshape(4, 1, 4, 8)
    method.online = nn.Flatten()
    method.queue.keys.copy_(torch.eye(32)[20:24])
    assert method(a=images, b=images).item() < 0.001
    method.queue.push(images.flatten(1))
    assert method(a=images, b=images).item() > 0.69


def test_the_memory_holds_what_the_following_network_says_of_both_views():
    method, batch = task.method(ENTRY, memory=100, m=0.5), task.batches(ENTRY).at(0)
    before = [parameter.clone() for parameter in method.target.net.parameters()]
    keys = method.queue.keys.clone()
    method(**batch).backward()
    with torch.no_grad():
        for parameter in method.online.parameters():
            parameter -= 0.1 * parameter.grad
    assert torch.equal(method.queue.keys, keys), "read, then written"
    method.remember()
    for was, now, online in zip(before, method.target.net.parameters(), method.online.parameters(), strict=True):
        torch.testing.assert_close(now, 0.5 * was + 0.5 * online.detach())
    with torch.no_grad():
        expected = torch.cat([unit(method.target(batch[view])) for view in "ab"])
    torch.testing.assert_close(method.queue.keys[:64], expected)
    assert torch.equal(method.queue.keys[64:], keys[64:])
    assert all(parameter.grad is None for parameter in method.target.parameters())


def test_without_memory_there_is_no_second_network():
    method = task.method(ENTRY, memory=0)
    assert not any(name.startswith(("target", "queue")) for name in method.state_dict())
    assert method.learned is method.online
    loss = method(**task.batches(ENTRY).at(0))
    loss.backward()
    method.remember()


@pytest.mark.parametrize(("hidden", "dims"), [(0, [16, 16, 16, 6]), (7, [16, 7, 7, 6])])
def test_the_head_has_two_hidden_layers(hidden, dims):
    assert task.method(ENTRY, hidden=hidden, dim=6).online.head.dims == dims


@pytest.mark.parametrize(("layer", "width"), [(1, 9), (2, 9)])
def test_fine_tuning_starts_from_the_middle_of_the_head(layer, width, tmp_path):
    """`finetune.layer: 1`: the encoder of the next stage is the trained one and the first layer of the trained head."""
    method = task.method(ENTRY, hidden=9, dim=6)
    task.train(method, task.batches(ENTRY), tmp_path / "work", 4)
    save_model(tmp_path / "v2", method.learned, {"kind": "encoder", "stage": "v2"})
    chosen = params.Encoder(name="tiny", args={"width": 4})
    encoder = start_encoder(chosen, 1, 8, task.MEAN, task.STD, tmp_path / "v2", layer=layer).eval()
    method.eval()
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        expected = nn.Sequential(*list(method.online.head)[: 3 * layer])(method.online.encoder(x))
        assert encoder.dim == width and torch.equal(encoder(x), expected)
    whole = start_encoder(chosen, 1, 8, task.MEAN, task.STD, tmp_path / "v2")
    assert whole.dim == 16 and not whole.spec["neck"]
    with pytest.raises(ParamsError, match="cannot keep 3 layers"):
        start_encoder(chosen, 1, 8, task.MEAN, task.STD, tmp_path / "v2", layer=3)


def test_what_was_kept_is_fine_tuned_and_saved_with_the_classifier(tmp_path):
    method = task.method(ENTRY, hidden=9, dim=6)
    save_model(tmp_path / "v2", method.learned, {"kind": "encoder", "stage": "v2"})
    chosen = params.Encoder(name="tiny", args={"width": 4})
    encoder = start_encoder(chosen, 1, 8, task.MEAN, task.STD, tmp_path / "v2", layer=1)
    entry = catalogue.find("supervised", "semi")
    tuned = entry.load()(encoder, classes=10)
    before = encoder.neck[0].weight.clone()
    task.train(tuned, task.batches(entry), tmp_path / "work", 2)
    assert not torch.equal(encoder.neck[0].weight, before) and tuned.learned.head.dims == [9, 10]


@pytest.mark.slow  # timm takes seconds to import
def test_it_learns_with_an_encoder_of_the_paper():
    chosen = params.Encoder(name="sk_resnet50", args={"layers": [1, 1, 1, 1], "width": 0.25, "small": True})
    torch.manual_seed(0)
    method = ENTRY.load()(build_encoder(chosen, 1, 8, task.MEAN, task.STD), dim=16, tau=0.5).train()
    assert isinstance(method.online.head, Head) and method.online.head.dims == [512, 512, 512, 16]
    optim, batches, losses = torch.optim.SGD(method.parameters(), 0.1), task.batches(ENTRY, gentle=True), []
    for step in range(12):
        loss = method(**batches.at(step))
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0] - 0.2

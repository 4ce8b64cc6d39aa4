"""CMC: contrast between groups of channels of the same image."""

import re
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.losses import unit
from pipeline.nets.encoder import build_encoder
from pipeline.nets.memory import Turns
from pipeline.nets.model import load_model
from tests.gloo import both
from tests.harness import shards

ENTRY = catalogue.find("cmc", "pretext")
IMAGES, DIM, TAU = 40, 5, 0.2


def cmc(sees=("L", "ab", "edges"), images=IMAGES, norm="batch", **knobs):
    torch.manual_seed(0)
    chosen = params.Encoder(args={"width": 2}, sees=list(sees), norm=norm)
    encoder = build_encoder(chosen, 3, 8, [0.5] * 3, [0.25] * 3)
    return ENTRY.load()(encoder, images=images, **{"dim": DIM, "tau": TAU} | knobs)


def bare(groups=2, **knobs):
    """The equation alone: its views are the projections, side by side."""
    method = cmc(["L", "ab", "edges"][:groups], **knobs)
    method.online, method.heads = nn.Identity(), nn.ModuleList(nn.Identity() for _ in range(groups))
    return method


def oracle_nce(z, keys, others, own, pairs):
    """-log h(z_i, k_j) - sum over noise of log(1 - h(z_i, n_j)), h = p / (p + K), p: exp(s / tau) over its mean."""
    total = 0.0
    for i, j in pairs:
        scores, positives = np.exp(z[i] @ others[j].T / TAU), np.exp((z[i] * keys[j]).sum(1) / TAU)
        counts = np.array([[row != b for row in own] for b in own.index])
        mean, k = scores[counts].mean(), len(others[j])
        total -= np.log(positives / (positives + k * mean)).mean()
        total -= (np.log(k * mean / (scores + k * mean)) * counts).sum(1).mean()
    return total


def oracle(z, keys, others, own, pairs):
    """-log exp(z_i k_j / tau) / (that + sum over noise of exp(z_i n_j / tau)): anchors one by one, pairs summed."""
    total = 0.0
    for i, j in pairs:
        for b in range(len(z[i])):
            positive = np.exp(z[i][b] @ keys[j][b] / TAU)
            noise = [np.exp(z[i][b] @ others[j][n] / TAU) for n in range(len(others[j])) if own[n] != own.index[b]]
            total -= np.log(positive / (positive + sum(noise))) / len(z[i])
    return total


class Rows(list):
    """Images that the noise comes from, and those of the batch."""

    def __init__(self, rows, index):
        super().__init__(rows.tolist())
        self.index = index.tolist()


@pytest.mark.parametrize("batch", [2, 3, 17])
@pytest.mark.parametrize(
    ("graph", "pairs"),
    [("core", [(0, 1), (1, 0), (0, 2), (2, 0)]), ("full", [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)])],
)
@pytest.mark.parametrize("negatives", [0, 11, 1000])
@pytest.mark.parametrize("loss", ["softmax", "nce"])
def test_three_views_contrast_with_the_core_view_or_with_each_other(batch, graph, pairs, negatives, loss):
    method = cmc(graph=graph, negatives=negatives, loss=loss).train()
    x, index = torch.randn(batch, 3, 8, 8), torch.randperm(IMAGES)[:batch]
    with torch.no_grad():
        parts = method.online(x).double().chunk(3, 1)
        z = [unit(head.double()(part)).double().numpy() for head, part in zip(method.heads, parts, strict=True)]
        method.heads.float()
    if negatives:
        bank = method.bank.rows.double().numpy().reshape(3, IMAGES, DIM)
        rows = method.noise.rows()
        assert len(rows) == min(negatives, IMAGES)
        keys, others = bank[:, index], bank[:, rows]
    else:
        rows, keys, others = index, z, z
    expected = (oracle if loss == "softmax" else oracle_nce)(z, keys, others, Rows(rows, index), pairs)
    assert method(x=x, index=index).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("negatives", [0, IMAGES])
def test_the_floor_is_that_of_a_row_that_is_never_its_own_negative(negatives):
    """Aligned views, orthogonal to all else: ln(1 + (N - 1) exp(-1 / tau)) for each of two pairs, not near ln 2."""
    method = bare(dim=IMAGES, negatives=negatives, tau=0.05)
    eye = torch.eye(IMAGES)
    if negatives:
        method.bank.rows.copy_(eye.repeat(2, 1))
    loss = method(x=eye.repeat(1, 2), index=torch.arange(IMAGES))
    assert loss.item() == pytest.approx(2 * log(1 + (IMAGES - 1) * np.exp(-20)), abs=1e-6)


def test_the_same_image_twice_in_a_batch_is_no_negative_of_itself():
    method, z = bare(negatives=0, dim=8, tau=0.05), torch.eye(8)[[0, 1, 1, 2]].repeat(1, 2)
    assert method(x=z, index=torch.tensor([4, 7, 7, 9])).item() < 1e-6
    assert method(x=z, index=torch.tensor([4, 7, 8, 9])).item() > 0.5  # the control: two images that look alike


@pytest.mark.parametrize("loss", ["softmax", "nce"])
@pytest.mark.parametrize("negatives", [0, IMAGES])
def test_chance_is_the_loss_of_one_point(negatives, loss):
    method, batch = bare(negatives=negatives, loss=loss), 6
    method.bank.rows.copy_(torch.eye(DIM)[:1].expand_as(method.bank.rows))
    value = method(x=torch.eye(DIM)[:1].repeat(batch, 2), index=torch.arange(batch))
    assert method.chance == pytest.approx(value.item(), rel=1e-5 if loss == "softmax" else 0.1)  # nce: K and K - 1


def test_a_batch_cannot_please_the_bank_by_moving_together():
    """Keys are rows of the bank: were they those of the batch, one new point for all of it would be a low loss."""
    method = bare(dim=8, negatives=IMAGES)
    method.bank.rows.copy_(torch.eye(8)[torch.arange(2 * IMAGES) % 7])
    away = torch.eye(8)[7:].repeat(4, 2)
    assert method(x=away, index=torch.arange(4)).item() >= method.chance * 0.99


def test_each_group_remembers_its_own_rows_after_the_yield():
    method, index = bare(dim=4, m=0.25), torch.tensor([3, 8])
    x = torch.cat([unit(torch.randn(2, 4)), unit(torch.randn(2, 4))], 1)
    before = method.bank.rows.clone().view(2, IMAGES, 4)
    method(x=x, index=index)
    assert torch.equal(method.bank.rows, before.view(-1, 4))
    method.remember()
    after = method.bank.rows.view(2, IMAGES, 4)
    for group, z in enumerate(x.chunk(2, 1)):
        torch.testing.assert_close(after[group, index], unit(0.25 * before[group, index] + 0.75 * z))
    after[:, index] = before[:, index]
    assert torch.equal(after, before)


def test_noise_takes_its_turns():
    noise, seen = Turns(10, 4), []
    for _ in range(5):
        rows = noise.rows()
        assert torch.equal(rows, noise.rows()) and len(rows.unique()) == 4
        seen.append(rows)
        noise.turn()
    assert torch.cat(seen).bincount().tolist() == [2] * 10
    assert seen[0].tolist() != [0, 1, 2, 3]  # images lie sorted on the disk
    assert Turns(10, 16384).rows().sort()[0].tolist() == list(range(10))


def test_noise_is_part_of_the_state():
    noise, again = Turns(10, 4), Turns(10, 4)
    noise.turn()
    again.load_state_dict(noise.state_dict())
    assert torch.equal(again.rows(), noise.rows())


@pytest.mark.parametrize("sees", [(), ("L",)])
def test_one_view_is_not_enough(sees):
    with pytest.raises(ParamsError, match=re.escape("encoder.sees must name two or more, such as [L, ab]")):
        cmc(sees)


def test_no_image_of_the_batch_is_nan_in_silence():
    method = cmc()
    x = torch.randn(4, 3, 8, 8)
    x[1, 0, 2, 2] = torch.nan
    assert method(x=x, index=torch.arange(4)).isnan()


def _step(rank, world, knobs):
    """(loss, gradients, bank) of a process that sees its part of six images, the same one twice among them."""
    method = cmc(norm="layer", **knobs)
    network = DistributedDataParallel(method) if world > 1 else method
    rows = slice(rank * 6 // world, (rank + 1) * 6 // world)
    x, index = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 9, 4, 9, 0, 5])
    loss = network(x=x[rows], index=index[rows])
    loss.backward()
    method.remember()
    grads = torch.cat([parameter.grad.flatten() for parameter in method.parameters()])
    return loss.detach(), grads, method.bank.rows.clone()


@pytest.mark.slow  # two processes import torch
@pytest.mark.parametrize("knobs", [{"negatives": 0}, {"negatives": 11, "loss": "nce"}], ids=str)
def test_two_processes_share_the_negatives_of_the_batch_and_the_constant_of_nce(knobs):
    loss, grads, bank = _step(0, 1, knobs)
    parts = both(_step, 2, knobs)
    torch.testing.assert_close(torch.stack([part[0] for part in parts]).mean(), loss)
    for _, there, remembered in parts:
        torch.testing.assert_close(there, grads, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(remembered, bank)


PARAMS = """
data: {size: 8, channels: 1}
encoder: {name: tiny, args: {width: 2}, sees: [L, edges]}
pretrain: {cmc: {method: cmc, steps: 4, batch: 8, knobs: {graph: core, dim: 8}}}
finetune: {from: cmc, steps: 4, batch: 8}
"""


@pytest.mark.slow
def test_the_whole_encoder_goes_on_to_fine_tuning_and_to_its_twin_from_scratch(tmp_path, monkeypatch):
    from stages import finetune, pretrain, scratch

    shards(tmp_path / "data" / "shards")
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    scratch.scratch([], file)
    pretrain.pretrain("cmc", [], file)
    for baseline in (False, True):
        finetune.finetune(baseline, [], file)
    made = {name: load_model(Path("data/models") / name) for name in ("scratch", "cmc", "finetune", "baseline")}
    for name, model in made.items():
        assert model.branch.encoder.spec["sees"] == ["L", "edges"], name
    assert made["finetune"].about["from"] == "cmc"

import copy

import pytest
import torch
from torch import nn

from pipeline.errors import ParamsError
from pipeline.losses import unit
from pipeline.nets.branch import Branch
from pipeline.nets.heads import Head
from pipeline.nets.memory import Alignment, Averages, Ema, Frozen, MemoryBank, Queue, ramp, rising, sigmoid_ramp


@pytest.fixture
def online(encoder):
    return Branch(encoder(), Head([64, 16, 10]))


def shake(net):
    """As a training step would: other weights, other statistics, another count of batches."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    net.train()(torch.randn(8, 3, 8, 8))


def test_ema_is_the_weighted_sum_of_what_it_followed(online):
    m, target = 0.8, Ema(online)
    history = [{name: tensor.clone() for name, tensor in online.state_dict().items()}]
    for _ in range(3):
        shake(online)
        target.follow(online, m)
        history.append({name: tensor.clone() for name, tensor in online.state_dict().items()})
    w = [m**3, (1 - m) * m**2, (1 - m) * m, 1 - m]
    for name, found in target.net.state_dict().items():
        if found.is_floating_point():
            expected = sum(weight * step[name] for weight, step in zip(w, history, strict=True))
            assert torch.allclose(found, expected, atol=1e-5), name
        else:
            assert found == history[-1][name] == 3, name
    assert "encoder.net.bn1.running_mean" in target.net.state_dict()
    assert target.updates == 3


def test_ema_at_the_ends(online):
    target = Ema(online)
    start = [parameter.clone() for parameter in target.net.parameters()]
    shake(online)
    target.follow(online, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(start, target.net.parameters(), strict=True))
    target.follow(online, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(online.parameters(), target.net.parameters(), strict=True))


def test_warm_up_is_a_plain_mean_at_first(online):
    target, seen = Ema(online), []
    for step in range(5):
        m = target.warm(0.75)
        assert m == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4, 0.75][step])
        shake(online)
        seen.append(online.head[0].weight.detach().clone())
        target.follow(online, m)
        if step == 2:
            assert torch.allclose(target.net.head[0].weight, torch.stack(seen).mean(0), atol=1e-6)


def test_ema_is_another_module(online):
    target = Ema(online)
    mine = {tensor.data_ptr() for tensor in target.net.state_dict().values()}
    assert not mine & {tensor.data_ptr() for tensor in online.state_dict().values()}
    assert all(parameter.requires_grad for parameter in online.parameters())


def test_no_gradient_reaches_a_target_or_a_teacher(online):
    target, teacher = Ema(online), Frozen(copy.deepcopy(online))
    x = torch.randn(4, 3, 8, 8, requires_grad=True)
    outputs = target(x), teacher(x)
    assert not any(output.requires_grad for output in outputs)
    (online(x) - outputs[0]).square().sum().backward()
    for module in (target, teacher):
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())
    assert all(p.grad is not None for p in online.parameters())


def test_ema_follows_its_parents_mode_unless_told(online):
    parent = nn.ModuleList([Ema(online), Ema(online, always_eval=True)]).train()
    assert [child.net.encoder.net.bn1.training for child in parent] == [True, False]
    parent.eval()
    assert not parent[0].net.training
    parent.train()
    before = parent[1].net.encoder.net.bn1.running_mean.clone()
    for child in parent:
        child(torch.randn(4, 3, 8, 8))
    assert torch.equal(parent[1].net.encoder.net.bn1.running_mean, before)
    assert not torch.equal(parent[0].net.encoder.net.bn1.running_mean, before)


def test_frozen_is_always_in_evaluation(online):
    teacher = Frozen(online)
    parent = nn.Sequential(teacher).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    x = torch.randn(4, 3, 8, 8)
    assert torch.allclose(parent(x)[:2], parent(x[:2]), atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_state_dict_is_complete(online):
    target, other = Ema(online), Ema(online)
    for _ in range(2):
        shake(online)
        target.follow(online, 0.5)
    other.load_state_dict(target.state_dict())
    shake(online)
    for ema in (target, other):
        ema.follow(online, ema.warm(0.999))
    assert all(
        torch.equal(a, b) for a, b in zip(target.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert other.updates == 3


def test_autocast_does_not_mistake_the_target_for_the_online_network():
    """Weights swapped inside an autocast region are not seen: its cache of casts goes by parameter."""
    online, x = nn.Linear(8, 4), torch.randn(3, 8)
    target = Ema(online)
    with torch.no_grad():
        online.weight.add_(1)
    with torch.autocast("cpu", torch.bfloat16):
        student = online(x)
        separate = target(x)
        weight, online.weight.data = online.weight.data, target.net.weight.data
        swapped = online(x)  # the trap: still the student
        online.weight.data = weight
    assert torch.equal(swapped, student)
    assert not torch.allclose(separate, student, atol=0.1)
    assert torch.allclose(separate.float(), target.net(x), atol=0.05)


def test_queue_holds_the_last_keys_in_their_order_whatever_the_batch():
    """Batches that do not divide the size, and one that is larger than the queue."""
    queue, pushed = Queue(5, 3), []
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(5)), "lightly's unnormalised bank: PR 1009"
    for size in (2, 2, 3, 7, 1):
        batch = unit(torch.randn(size, 3))
        pushed += list(batch)
        queue.push(batch)
        newest = torch.stack(pushed[-5:])
        if len(pushed) >= 5:
            assert {tuple(row.tolist()) for row in queue.keys} == {tuple(row.tolist()) for row in newest}
    oldest = queue.keys[queue.next]
    assert torch.equal(oldest, pushed[-5]), "the next to go"
    assert queue.state_dict().keys() == {"keys", "next"}


def test_a_queue_of_no_keys_is_refused():
    with pytest.raises(ParamsError, match="a queue of 0 keys"):
        Queue(0, 4)


def test_bank_moves_the_rows_of_the_batch_and_no_other():
    bank = MemoryBank(6, 4)
    before, z = bank.rows.clone(), unit(torch.randn(2, 4))
    bank.update(torch.tensor([4, 1]), z, 0.5)
    assert torch.allclose(bank.rows[[4, 1]], unit(0.5 * before[[4, 1]] + 0.5 * z))
    assert torch.equal(bank.rows[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_averages_are_corrected_by_the_updates_that_each_row_has_had():
    """Of 0, 1 and 3 updates; a row that is given the same thing again and again is that thing."""
    averages, z, last = Averages(3, 2), torch.tensor([0.25, 0.75]), torch.tensor([1.0, 0.0])
    for row, value in ((1, z), (2, z), (2, z), (2, last)):
        averages.update(torch.tensor([row]), value[None], 0.6)
    assert averages.counts.tolist() == [0, 1, 3]
    expected = torch.stack([torch.zeros(2), z, (0.6 * (1 - 0.6**2) * z + 0.4 * last) / (1 - 0.6**3)])
    torch.testing.assert_close(averages.means(torch.arange(3), 0.6), expected)
    assert averages.state_dict().keys() == {"rows", "counts"}


def test_a_row_that_a_batch_holds_twice_counts_once():
    """So that its mean still sums to 1; that happens where an epoch ends inside a batch."""
    averages = Averages(2, 2)
    averages.update(torch.tensor([1, 1]), torch.tensor([[0.5, 0.5], [0.5, 0.5]]), 0.6)
    assert averages.means(torch.tensor([1]), 0.6)[0].tolist() == pytest.approx([0.5, 0.5])


def test_what_is_guessed_as_often_as_it_is_given_stays_as_it_is():
    alignment, p = Alignment(3), torch.tensor([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]])
    torch.testing.assert_close(alignment(p), p)
    alignment.update(torch.tensor([[0.5, 0.2, 0.3]]), p)
    torch.testing.assert_close(alignment(p), p, atol=1e-6, rtol=0)


def test_alignment_is_the_formula_over_the_last_batches():
    """The oldest goes; a class that is guessed too often is taken back."""
    alignment, p = Alignment(2, size=2), torch.tensor([[0.6, 0.4]])
    for given, guessed in (([9.0, 9.0], [9.0, 9.0]), ([0.5, 0.5], [0.9, 0.1]), ([0.3, 0.7], [0.7, 0.3])):
        alignment.update(torch.tensor([given]), torch.tensor([guessed]))
    expected = torch.tensor([[0.6 * 0.4 / 0.8, 0.4 * 0.6 / 0.2]])
    torch.testing.assert_close(alignment(p), expected / expected.sum(), atol=1e-5, rtol=0)
    assert alignment.state_dict().keys() == {"given", "guessed", "next"} and int(alignment.next) == 1


def test_rising_momentum_starts_at_m_and_ends_at_one():
    assert rising(0.99, 0) == pytest.approx(0.99) and rising(0.99, 1) == 1
    assert rising(0.99, 0.5) == pytest.approx(0.995)


def test_ramp_is_linear_and_then_flat():
    assert [ramp(0.04, 0.08, 0.5, t) for t in (0, 0.25, 0.5, 0.9)] == pytest.approx([0.04, 0.06, 0.08, 0.08])
    assert ramp(0.04, 0.08, 0, 0) == 0.08


def test_the_sigmoid_ramp_is_slow_then_fast_then_flat():
    """exp(-5), exp(-2.8125), exp(-1.25) and exp(-.3125) at quarters of the way."""
    found = [sigmoid_ramp(100.0, 0.4, t) for t in (0, 0.1, 0.2, 0.3, 0.4, 0.9)]
    assert found == pytest.approx([0.6738, 6.0055, 28.6505, 73.1616, 100, 100], abs=1e-4)
    assert sigmoid_ramp(100.0, 0, 0) == 100

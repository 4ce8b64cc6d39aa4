"""What every method promises (DESIGN, sections 3 and 9). A method is in this suite as soon as its file exists."""

import ast

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline import catalogue, params
from pipeline.engine import optimiser
from pipeline.engine.monitor import Monitor
from pipeline.errors import Collapsed, Preempted
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.memory import Ema, Frozen
from pipeline.nets.model import load_model, save_model
from tests.contract import small_task as task
from tests.gloo import both

ENTRIES = catalogue.entries()
CASES = {entry.name: entry for entry in ENTRIES} | task.variants(ENTRIES)
every_method = pytest.mark.parametrize("entry", CASES.values(), ids=list(CASES))
every_file = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
pretext = pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if not e.labelled], ids=[e.name for e in ENTRIES if not e.labelled]
)


def copy(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def one_step(method, batches, step):
    """As `fit` does it; gives the loss."""
    loss = task.loss_at(step, method, batches)
    loss.backward()
    optim = optimiser.build(method, params.Optimiser(lr=0.05))
    optim.step()
    optim.zero_grad()
    method.remember()
    return loss.detach()


@every_method
def test_the_loss_is_a_finite_number(entry):
    loss = task.loss_at(0, task.method(entry), task.batches(entry))
    assert loss.shape == () and loss.dtype == torch.float32 and loss.isfinite() and loss.requires_grad


@every_method
def test_nothing_is_remembered_before_the_yield(entry):
    method, batches = task.method(entry), task.batches(entry)
    one_step(method, batches, 0)
    norms = [name for name, module in method.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    running = {f"{name}.{key}" for name in norms for key in ("running_mean", "running_var", "num_batches_tracked")}
    before, loss = copy(method), task.loss_at(1, method, batches)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= running
    assert torch.equal(task.loss_at(1, method, batches), loss), "a second forward pass saw something of the first"


@every_method
def test_gradients_reach_every_trained_parameter_and_no_other(entry):
    method, batches = task.method(entry), task.batches(entry)
    one_step(method, batches, 0)
    task.loss_at(1, method, batches).backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.any(), f"{name} learns nothing"
        else:
            assert parameter.grad is None, f"{name} must not learn"
    assert any(parameter.requires_grad for parameter in method.online.encoder.parameters())
    for module in method.modules():
        if isinstance(module, Ema | Frozen):
            assert not any(parameter.requires_grad for parameter in module.parameters())
    for name, value in batches.at(1).items():
        assert not value.requires_grad, f"{name} is data"


@every_method
def test_one_step_of_the_optimiser_moves_the_network(entry):
    method = task.method(entry)
    before = copy(method.online)
    one_step(method, task.batches(entry), 0)
    assert any(not torch.equal(p, before[name]) for name, p in method.online.named_parameters())


@every_method
def test_the_state_dict_is_the_whole_state(entry):
    first, second, batches = task.method(entry), task.method(entry, init=1), task.batches(entry)
    for step in range(2):
        one_step(first, batches, step)
    assert not torch.equal(task.loss_at(2, second, batches), task.loss_at(2, first, batches))
    second.load_state_dict(first.state_dict())
    assert torch.equal(one_step(first, batches, 2), one_step(second, batches, 2))
    assert torch.equal(task.loss_at(3, first, batches), task.loss_at(3, second, batches))


@every_method
def test_stopped_and_resumed_is_bit_for_bit_the_same(entry, tmp_path):
    steps, batches = 8, task.batches(entry)
    straight, broken, resumed = (task.method(entry, init) for init in (0, 0, 1))
    record = task.train(straight, batches, tmp_path / "straight", steps)
    with pytest.raises(Preempted):
        task.train(broken, batches, tmp_path / "broken", steps, stop_at=steps // 2)
    again = task.train(resumed, batches, tmp_path / "broken", steps)
    assert [row["step"] for row in again["history"]] == list(range(steps))
    assert again["history"] == record["history"]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


CLUSTERING = [entry for entry in ENTRIES if entry.load().before_epoch is not Method.before_epoch]


@pytest.mark.parametrize("entry", CLUSTERING, ids=[entry.name for entry in CLUSTERING])
def test_stopped_in_the_middle_of_an_epoch_and_resumed_is_the_same(entry, tmp_path):
    """What an epoch began with is state: clustering again at step 7, of an epoch that began at 5, would give others."""
    batches, steps = task.batches(entry, batch=200, ratio=2), 12
    assert [step for step in range(steps) if batches.starts_epoch(step)] == [0, 5, 9]
    straight, broken, resumed = (task.method(entry, init) for init in (0, 0, 1))
    task.train(straight, batches, tmp_path / "straight", steps)
    with pytest.raises(Preempted):
        task.train(broken, batches, tmp_path / "broken", steps, stop_at=7)
    task.train(resumed, batches, tmp_path / "broken", steps)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def _two_steps(rank, world, entry):
    """(losses, gradients, state) of a method that sees its part of two global batches."""
    method = task.without_batch_statistics(task.method(entry))
    network = DistributedDataParallel(method) if world > 1 else method
    batches = task.batches(entry, rank=rank, world=world)
    optim, losses, gradients = optimiser.build(method, params.Optimiser(lr=0.05)), [], {}
    for step in range(2):
        loss = task.loss_at(step, network, batches)
        optim.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {k: p.grad.clone() for k, p in method.named_parameters() if p.grad is not None}
        optim.step()
        method.remember()
        losses.append(loss.detach())
    return torch.stack(losses), gradients, copy(method)


@pytest.mark.slow  # two processes import torch
@every_method
def test_two_processes_learn_what_one_learns(entry):
    """Loss, gradients, and what is remembered; for networks without BatchNorm (see `without_batch_statistics`)."""
    losses, gradients, state = _two_steps(0, 1, entry)
    parts = both(_two_steps, 2, entry)
    mean = torch.stack([part[0] for part in parts]).mean(0)
    torch.testing.assert_close(mean, losses, atol=1e-6, rtol=1e-6)
    steepest = max(1.0, *(value.abs().max().item() for value in gradients.values()))
    for _, there, remembered in parts:
        assert there.keys() == gradients.keys()
        for name, value in gradients.items():
            near = 1e-6 * max(1.0, value.abs().max().item())  # a sum in another order is as exact as its largest term
            torch.testing.assert_close(there[name], value, atol=near, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        for name, value in state.items():
            near = 1e-5 * steepest
            torch.testing.assert_close(remembered[name], value, atol=near, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@every_method
def test_what_is_learned_can_be_kept(entry, tmp_path):
    method = task.method(entry)
    one_step(method, task.batches(entry), 0)
    branch = method.learned
    assert isinstance(branch, Branch)
    save_model(tmp_path, branch, {"kind": "encoder", "stage": "here"})
    kept, images = load_model(tmp_path).branch, torch.randn(3, task.channels(entry), 8, 8)
    branch.eval()
    assert torch.equal(kept(images), branch(images))
    assert torch.equal(kept.encoder(images), branch.encoder(images))


@every_file
def test_a_method_is_short(entry):
    """One paper, one file, about 40 lines of code: docstrings, comments and blank lines not counted."""
    text = (catalogue.HERE / entry.family / f"{entry.name}.py").read_text()
    body = next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    nodes = [
        node for node in ast.walk(body) if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    ]
    prose = {line for node in nodes for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    lines = enumerate(text.splitlines()[body.lineno - 1 : body.end_lineno], body.lineno)
    code = [line for number, line in lines if number not in prose and line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 40


@every_file
def test_a_method_names_its_paper(entry):
    assert "arXiv:" in entry.paper and entry.summary.endswith(".")


def look(method):
    """What the monitor of the engine says of a method that sees no labels."""
    pixels, labels = task.digits(method.learned.encoder.spec["channels"])
    held = {"labelled": task.LABELLED, "val": task.VAL}
    images = {name: task.Images(pixels[rows]) for name, rows in held.items()}
    more = {"classes": 10, "transform": task.TRANSFORM, "batch": 256, "device": task.CPU, "classifies": False}
    return Monitor(images["labelled"], labels[task.LABELLED], images["val"], labels[task.VAL], **more)(method)


@pretext
def test_a_collapse_is_noticed(entry):
    """One output for all images stops the run; the network as it starts does not."""
    method = task.method(entry)
    assert look(method)["effective_rank"] > 2
    encoder = method.learned.encoder
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if encoder.depth_of(name) == 0:  # of each network, where there are several
                parameter.zero_()
    with pytest.raises(Collapsed):
        look(method)

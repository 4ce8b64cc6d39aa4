"""THE loop."""

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.data.batches import Batches, Stream
from pipeline.data.images import Images
from pipeline.engine import optimiser, ranks
from pipeline.engine.checkpoint import Checkpoint
from pipeline.engine.fit import fit
from pipeline.engine.signals import Stop
from pipeline.errors import Collapsed, Preempted
from pipeline.methods.method import Method
from pipeline.methods.semi.supervised import Supervised
from pipeline.nets.branch import Branch
from pipeline.views.view import View
from tests.gloo import both

RATES = params.Optimiser(lr=0.05)


def unheard(done: int, text: str) -> None:
    pass


def train(
    method, batches, folder, steps=40, *, stop=None, every=1e9, monitors=0, monitor=lambda m: {}, report=unheard, **more
):
    training = params.Training(steps=steps, optimiser=RATES, monitors=monitors, **more)
    optim = optimiser.build(method, training.optimiser)
    given = {"run_seed": 0, "embed": lambda net: torch.zeros(1), "monitor": monitor, "report": report}
    return fit(method, batches, optim, training, Checkpoint(folder, every), stop=stop or Stop(), **given)


def accuracy(method, pixels) -> float:
    images, labels = pixels
    with torch.no_grad():
        return (method.eval().online((images / 255 - 0.3) / 0.25).argmax(1) == labels).float().mean().item()


def test_learns_what_can_be_learned(batches, encoder, pixels, tmp_path):
    method = Supervised(encoder, classes=3)
    before = accuracy(method, pixels)
    record = train(method, batches(), tmp_path)
    losses = [row["loss"] for row in record["history"]]
    assert before < 0.6 and accuracy(method, pixels) > 0.95
    assert losses[0] > 0.9 and losses[-1] < 0.4
    assert [row["step"] for row in record["history"]] == list(range(40))


def test_rates_follow_the_schedule(batches, encoder, tmp_path):
    record = train(Supervised(encoder, classes=3), batches(), tmp_path, steps=8)
    expected = [0.05 * (1 + torch.cos(torch.tensor(torch.pi * n / 8)).item()) / 2 for n in range(8)]
    assert [row["lr"] for row in record["history"]] == pytest.approx(expected)


def test_monitors_are_spread_over_the_run_and_the_last_step_is_one(batches, encoder, tmp_path):
    looked = iter(range(9))
    record = train(
        Supervised(encoder, classes=3), batches(), tmp_path, 10, monitors=4, monitor=lambda m: {"n": next(looked)}
    )
    assert [row["step"] for row in record["history"] if "n" in row] == [2, 4, 7, 9]


def test_the_line_of_progress_leaves_out_the_single_classes(batches, encoder, tmp_path):
    said, seen = [], {"val_top1": 0.5, "val_class_00": 0.25, "val_class_01": 0.75}
    record = train(
        Supervised(encoder, classes=3),
        batches(),
        tmp_path,
        2,
        monitors=2,
        monitor=lambda method: seen,
        report=lambda done, text: said.append(text),
    )
    assert all(seen.items() <= row.items() for row in record["history"])
    assert [re.sub(r"loss [\d.]+", "loss", text) for text in said] == ["loss  val_top1 0.5"] * 2


class Rememberer(Method):
    """Draws where a method may: before an epoch, in its step, after it."""

    labelled = dict(x="flip")

    def __init__(self, encoder):
        super().__init__()
        self.online = Branch(encoder, nn.Linear(encoder.dim, 3))
        self.register_buffer("centres", torch.zeros(3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.told = []

    def before_epoch(self, embed):
        self.centres.copy_(torch.rand(3))
        self.told.append((self.t, int(self.seen)))
        return ()

    def step(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        logits = self.online(x) + 0.1 * torch.rand(len(x), 1) * self.centres
        yield nn.functional.cross_entropy(logits, y)
        self.seen += 1
        self.centres += 0.01 * torch.rand(3)


def test_t_and_epochs_and_memory(batches, encoder, tmp_path):
    """Batches of 12 of 48 images: an epoch every four steps; what is remembered is remembered once a step."""
    method = Rememberer(encoder)
    train(method, batches(), tmp_path, 10)
    assert method.told == [(0.0, 0), (0.4, 4), (0.8, 8)] and method.seen == 10


@pytest.mark.parametrize("stopped", [1, 4, 6])
def test_stopped_and_resumed_is_the_same_as_whole(batches, encoder, tmp_path, stopped):
    from copy import deepcopy

    first, second, whole = Rememberer(encoder), Rememberer(deepcopy(encoder)), Rememberer(deepcopy(encoder))
    second.online, whole.online = deepcopy(first.online), deepcopy(first.online)
    torch.manual_seed(1)
    history = train(whole, batches(), tmp_path / "whole", 10)["history"]
    stop = Stop()

    class Asks(Batches):
        def at(self, step, rows=None):
            stop.asked = step == stopped
            return super().at(step, rows)

    asking = Asks(**vars(batches()))
    torch.manual_seed(2)
    with pytest.raises(Preempted, match=f"stopped after step {stopped + 1} of 10"):
        train(first, asking, tmp_path / "part", 10, stop=stop)
    torch.manual_seed(3)
    assert train(second, batches(), tmp_path / "part", 10)["history"] == history
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in second.state_dict().items())


class Renews(Rememberer):
    """Draws its head anew before every epoch, in place, and says so."""

    def before_epoch(self, embed):
        nn.init.normal_(self.online.head.weight)
        return [self.online.head.weight]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_optimiser_forgets_what_it_knew_of_parameters_that_were_drawn_anew(batches, encoder, tmp_path, name):
    """Epochs of four steps: after five, the weight has seen one since it was drawn, all others five."""
    method, rates = Renews(encoder), params.Optimiser(name=name, lr=0.05, weight_decay=0.0)
    training = params.Training(steps=5, optimiser=rates, monitors=0)
    optim, given = optimiser.build(method, rates), {"monitor": lambda method: {}, "report": lambda done, text: None}
    checkpoint = Checkpoint(tmp_path, 1e9)
    fit(method, batches(), optim, training, checkpoint, run_seed=0, embed=lambda net: None, stop=Stop(), **given)
    new, old = method.online.head.weight, method.online.head.bias
    if name == "adamw":
        assert (optim.state[new]["step"], optim.state[old]["step"]) == (1, 5)
    else:
        assert torch.equal(optim.state[new]["momentum_buffer"], new.grad)
        assert not torch.allclose(optim.state[old]["momentum_buffer"], old.grad)


class Guesses(Method):
    """A loss that is that of guessing until a share of the run is over."""

    labelled = dict(x="flip")
    chance = 2.0

    def __init__(self, until):
        super().__init__()
        self.online, self.until = Branch(nn.Flatten(), nn.Linear(64, 3)), until

    def step(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        yield self.online(x).mean() * 0 + (2.0 if self.t < self.until else 1.9)


def test_a_loss_that_never_leaves_chance_stops_the_run(batches, tmp_path):
    """lightly's MoCo stood at 8.32 = ln 4096 (PR 1009), its SwAV at 6.24 = ln 512 (issue 736), and trained on."""
    with pytest.raises(Collapsed, match="the loss has stayed at 2; guessing costs 2"):
        train(Guesses(until=1.0), batches(), tmp_path / "stuck", 250, monitors=5)
    train(Guesses(until=0.3), batches(), tmp_path / "learns", 250, monitors=5)
    train(Guesses(until=1.0), batches(), tmp_path / "too short to tell", 20, monitors=5)


class Plain(Method):
    """Without BatchNorm, whose statistics would differ between one process and two."""

    labelled = dict(x="flip")

    def __init__(self):
        super().__init__()
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        self.online = Branch(encoder, nn.Linear(16, 3))

    def step(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        yield nn.functional.cross_entropy(self.online(x), y)


def plain(rank: int, folder: str) -> tuple[list[Tensor], list[Tensor], float]:
    """(weights after three steps, gradients of the last, the mean loss) of this process's part."""
    from pathlib import Path

    torch.manual_seed(0)
    method, images = Plain(), Images(torch.randint(0, 255, (24, 1, 8, 8), dtype=torch.uint8))
    labels = torch.randint(0, 3, (24,))
    view = View("crop(.5)|flip", 8, [0.3], [0.25])
    stream = Stream(images, torch.arange(24), 8, {"x": view}, {"y": labels.__getitem__})
    batches = Batches({"labelled": stream}, 0, torch.device("cpu"), {"labelled": ranks.part(8)})
    record = train(method, batches, Path(folder), 3)
    gradients = [parameter.grad.clone() for parameter in method.parameters()]
    return [p.detach().clone() for p in method.parameters()], gradients, record["history"][-1]["loss"]


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    weights, gradients, loss = plain(0, str(tmp_path / "one"))
    parts = both(plain, str(tmp_path / "two"))
    for other_weights, other_gradients, _ in parts:
        for ours, theirs in zip([*weights, *gradients], [*other_weights, *other_gradients], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert sum(part[2] for part in parts) / 2 == pytest.approx(loss, rel=1e-5)
    assert parts[0][2] != parts[1][2]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["LATEST.json", "step-000000003.safetensors"]

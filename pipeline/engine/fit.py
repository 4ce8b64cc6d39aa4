"""THE loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pipeline import seed
from pipeline.data.batches import Batches
from pipeline.device import autocast
from pipeline.engine import ranks, schedule
from pipeline.engine.checkpoint import Checkpoint
from pipeline.engine.monitor import CLASS
from pipeline.engine.progress import Report
from pipeline.engine.signals import Stop
from pipeline.errors import Diverged, Preempted
from pipeline.methods.method import Method
from pipeline.params import Training
from pipeline.score.collapse import leaves_chance

Record = dict[str, Any]
POINTS = 200
"""points of a curve: enough to draw, few enough to keep in a checkpoint"""
PATIENCE = 200
"""steps before a loss that has not moved means anything"""


def fit(
    method: Method,
    batches: Batches,
    optimiser: Optimizer,
    training: Training,
    checkpoint: Checkpoint,
    *,
    run_seed: int,
    embed: Callable[[nn.Module], Tensor],
    monitor: Callable[[Method], dict[str, float]],
    report: Report,
    stop: Stop,
) -> Record:
    """Train `method` for `training.steps` steps, from the checkpoint where there is one.

    Returns the record: {"history": [{"step", "loss", "lr", ...}], "seconds"}. Raises Diverged where loss or gradients
    are not finite (before the optimiser, on every process at once), Collapsed where the loss does not leave chance,
    Preempted when `stop` was asked and all is saved.
    """
    # Not the buffers: a bank is the same on all processes by what is pushed to it, and too large to send at every step.
    network = DistributedDataParallel(method, broadcast_buffers=False) if ranks.world() > 1 else method
    done, record = checkpoint.restore(method, optimiser)
    history, before = record.get("history", []), record.get("seconds", 0.0)
    started = time.monotonic()
    method.train()
    for n in range(done, training.steps):
        method.t = n / training.steps
        schedule.set_rate(optimiser, training.schedule, method.t)
        if batches.starts_epoch(n):
            seed.everything(run_seed, "epoch", n)
            for renewed in method.before_epoch(embed):
                optimiser.state.pop(renewed, None)
        batch = batches.at(n, method.rows)
        seed.everything(run_seed, "step", n, ranks.rank())
        with autocast(batches.device, training.precision):
            loss = network(**batch)
        optimiser.zero_grad()
        loss.backward()
        slope = nn.utils.get_total_norm([p.grad for p in method.parameters() if p.grad is not None])
        finite, asked, due = ranks.agree(bool((loss + slope).isfinite()), stop.asked, checkpoint.due())
        if not finite:
            raise Diverged(f"step {n}: loss {loss.item():g}, gradient norm {slope.item():g}; lower the learning rate")
        optimiser.step()
        method.remember()

        look = _every(n, training.steps, training.monitors)
        if look or _every(n, training.steps, POINTS):
            row = {"step": n, "loss": loss.item(), "lr": optimiser.param_groups[-1]["lr"]}
            row |= {name: value.item() for name, value in method.notes.items()} | (monitor(method) if look else {})
            history.append(row)
            if look and n >= max(PATIENCE, training.steps // 2):
                leaves_chance([row["loss"] for row in history], method.chance)
            said = [name for name in row if name not in ("step", "lr") and not name.startswith(CLASS)]
            report(n + 1, "  ".join(f"{name} {row[name]:.4g}" for name in said))
        last = n + 1 == training.steps
        if asked or due or last:
            record = {"history": history, "seconds": before + time.monotonic() - started}
            checkpoint.save(n + 1, method, optimiser, record)
        if asked and not last:
            raise Preempted(f"stopped after step {n + 1} of {training.steps}; the same command goes on from there")
    return record


def _every(n: int, steps: int, points: int) -> bool:
    """True at `points` steps, evenly spread over the run."""
    return (n + 1) * points // steps > n * points // steps

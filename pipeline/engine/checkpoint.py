"""The state of a run on disk: one safetensors file for every tensor, and LATEST.json, written last, which names it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline import files
from pipeline.engine import ranks
from pipeline.errors import BadData, Diverged
from pipeline.methods.method import Method

VERSION = 1


class Checkpoint:
    """Saved by the first process alone; a state that is cut off anywhere leaves the one before it valid."""

    def __init__(self, folder: Path, every: float):
        self.folder, self.every = folder, every
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every

    def save(self, step: int, method: Method, optimiser: Optimizer, record: dict[str, Any]) -> None:
        """`record` is plain JSON: the history so far and the seconds spent."""
        self._last = time.monotonic()
        if ranks.rank() == 0:
            tensors, scalars = _pack(method, optimiser)
            _refuse_non_finite(step, tensors)
            name = f"step-{step:09d}.safetensors"
            about = {"version": VERSION, "step": step, "scalars": scalars, "record": record}
            files.write_safetensors(self.folder / name, tensors, about)
            digest = files.sha256(self.folder / name)
            files.write_json(self.folder / "LATEST.json", {"file": name, "sha256": digest})
            for old in self.folder.glob("step-*.safetensors"):
                if old.name != name:
                    old.unlink()
        ranks.barrier()

    def restore(self, method: Method, optimiser: Optimizer) -> tuple[int, dict[str, Any]]:
        """(steps done, record); (0, {}) where nothing was saved. Raises BadData where the state is damaged."""
        latest = self.folder / "LATEST.json"
        if not latest.exists():
            return 0, {}
        says = files.read_json(latest)
        if not isinstance(says, dict) or says.keys() != {"file", "sha256"}:
            raise BadData(f"{latest}: names no state; remove {self.folder} to start this run again")
        path = self.folder / Path(str(says["file"])).name
        if not path.is_file() or files.sha256(path) != says["sha256"]:
            raise BadData(f"{path}: not what {latest.name} says it is; remove {self.folder} to start this run again")
        tensors, about = files.read_safetensors(path)
        _unpack(method, optimiser, tensors, about["scalars"])
        return about["step"], about["record"]


def _pack(method: Method, optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, float]]:
    tensors = {f"method/{name}": value for name, value in method.state_dict().items()}
    scalars = {}
    for number, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{number}/{key}"] = value
            elif value is not None:
                scalars[f"optimiser/{number}/{key}"] = value
    return tensors, scalars


def _unpack(method: Method, optimiser: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, float]) -> None:
    method.load_state_dict({k.removeprefix("method/"): v for k, v in tensors.items() if k.startswith("method/")})
    saved = optimiser.state_dict()
    for name, value in {**tensors, **scalars}.items():
        if name.startswith("optimiser/"):
            _, number, key = name.split("/")
            saved["state"].setdefault(int(number), {})[key] = value
    optimiser.load_state_dict(saved)


def _refuse_non_finite(step: int, tensors: dict[str, Tensor]) -> None:
    """An optimiser can overflow a weight while loss and gradients are finite; the state on disk stays healthy."""
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise Diverged(f"{name} is not finite after step {step}; lower the learning rate")

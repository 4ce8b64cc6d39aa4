"""Stages in processes that may be killed: a server imports torch once, and forks a child for each job.

It must never compute anything itself: neither autograd nor OpenMP survives a fork once it has been used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARAMS = """\
seed: 3
data: {source: digits, size: 8, channels: 1}
encoder: {name: tiny, drop: .1, drop_path: .1, args: {width: 4}}
pretrain:
  simclr: {from: scratch, method: simclr, steps: 8, batch: 16, monitors: 2}
finetune: {from: scratch, method: supervised, steps: 8, batch: 8, monitors: 2}
label: {batch: 10}
distill: {steps: 8, batch: 8, ratio: 2, monitors: 2, select: {threshold: 0.0, quota: 20}}
rounds:
  "1": {teacher: finetune, from: scratch, method: noisy_student}
runtime: {device: cpu, workers: 1, checkpoint: 0}
"""
STAGES = {
    "simclr": ("models/simclr", "curves/simclr.csv"),
    "finetune": ("models/finetune", "curves/finetune.csv"),
    "student-1": ("models/student-1", "curves/student-1.csv"),
    "label": ("labels/1",),
}
"""stage -> what it makes, as far as its bytes are promised"""
TRAINED = [stage for stage in STAGES if stage != "label"]
STEPS = 8


@dataclass
class Child:
    pid: int
    folder: Path
    started: float

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def result(self) -> Any:
        return pickle.loads((self.folder / "result").read_bytes())

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)


class Forks:
    """`start` a job (a function that pickle finds by its name, and its arguments), `wait` for its exit code."""

    def __enter__(self) -> Forks:
        mine, theirs = socket.socketpair()
        self.folder, self.count = Path(tempfile.mkdtemp(prefix="forks-")), 0
        command = [sys.executable, "-m", "tests.harness", str(theirs.fileno())]
        environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | {"OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=HERE.parent, env=environment)
        theirs.close()
        self.line = Connection(mine.detach())
        return self

    def __exit__(self, *error: object) -> None:
        self.line.close()  # the server ends at the end of its input
        self.server.wait()
        shutil.rmtree(self.folder)

    def start(self, job: Callable, *args: Any, hooks: Iterable[Callable] = ()) -> Child:
        """`hooks` are called in the child before the job: they set traps, or break the program."""
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        self.line.send((job, args, tuple(hooks), folder))
        return Child(self.line.recv(), folder, time.monotonic())

    def wait(self, child: Child) -> int:
        """The exit code; -n where signal n ended it."""
        self.line.send(child.pid)
        return os.waitstatus_to_exitcode(self.line.recv())

    def run(self, job: Callable, *args: Any, hooks: Iterable[Callable] = ()) -> int:
        return self.wait(self.start(job, *args, hooks=hooks))

    def call(self, job: Callable, *args: Any, hooks: Iterable[Callable] = ()) -> Any:
        """What the job returns; it has to end well."""
        child = self.start(job, *args, hooks=hooks)
        code = self.wait(child)
        assert code == 0, f"exit code {code}:\n{child.said}"
        return child.result()


@dataclass
class World:
    """A folder with params.yaml and data/, as a user has it."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def copy(self, folder: Path, stage: str) -> World:
        """All that stood here before `stage` ran."""
        made = {str(self.data / path) for path in STAGES[stage]} | {str(self.data / "times")}
        shutil.copytree(self.folder, folder, ignore=lambda at, names: [n for n in names if os.path.join(at, n) in made])
        return World(folder)

    def digests(self, stage: str) -> dict[str, str]:
        """sha256 of every file that the stage made."""
        paths = [self.data / path for path in STAGES[stage]]
        every = sorted(f for p in paths for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file())
        return {str(f.relative_to(self.data)): hashlib.sha256(f.read_bytes()).hexdigest() for f in every}

    def tree(self) -> dict[str, tuple[int, int]]:
        """Every file with its size and time of change."""
        found = {str(f.relative_to(self.folder)): f.stat() for f in self.folder.rglob("*")}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}

    def litter(self) -> list[str]:
        """Temporary names, and state of runs that are over."""
        work = self.data / "work"
        return [str(f) for f in self.data.rglob(".*.tmp-*")] + [str(f) for f in work.glob("*") if work.exists()]

    def state(self) -> Path:
        """The folder of the one unfinished run."""
        (folder,) = (self.data / "work").iterdir()
        return folder


def stage(folder: Path, name: str, *sets: str) -> None:
    """What `ssl-pipe` calls, for the stage that makes `name`."""
    from stages import distill, finetune, label, pretrain

    os.chdir(folder)
    given, params = list(sets), Path("params.yaml")
    if name == "finetune":
        finetune.finetune(False, given, params)
    elif name == "label":
        label.label("1", given, params)
    elif name.startswith("student-"):
        distill.distill(name.removeprefix("student-"), given, params)
    else:
        pretrain.pretrain(name, given, params)


def make(folder: Path) -> None:
    """Four classes of 8 x 8 pixels that can be told apart, and every stage once."""
    from stages import scratch

    (folder / "params.yaml").write_text(PARAMS)
    shards(folder / "data" / "shards")
    os.chdir(folder)
    scratch.scratch([], Path("params.yaml"))
    for name in ("finetune", "label", "student-1", "simclr"):
        stage(folder, name)


def shards(folder: Path, size: int = 8, seed: int = 0) -> None:
    import io

    import numpy as np
    from PIL import Image

    from pipeline.data.write import write_split

    draw = np.random.default_rng(seed)
    shape = {"size": size, "channels": 1, "classes": list("abcd"), "mean": [0.5], "std": [0.3]}
    looks = draw.integers(0, 200, (4, size, size))
    labelled: list[tuple[str, bytes, int]] = []
    for split, count in {"labelled": 24, "unlabelled": 60, "val": 20}.items():
        samples = labelled.copy() if split == "unlabelled" else []
        for i in range(len(samples), count):
            png = io.BytesIO()
            noisy = looks[i % 4] + draw.integers(0, 55, (size, size))
            Image.fromarray(noisy.astype(np.uint8)).save(png, "PNG")
            samples.append((f"{split}-{i:03d}", png.getvalue(), i % 4))
        labelled = labelled or samples
        write_split(folder / split, split, samples, per_shard=16, **shape)


def at_step(step: int, act: Callable[[], None]) -> None:
    """A hook: call `act` when the batch of that step is asked for."""
    from pipeline.data.batches import Batches

    original = Batches.at

    def at(self: Batches, n: int, rows: Any = None) -> Any:
        if n == step:
            act()
        return original(self, n, rows)

    Batches.at = at


def as_rank(rank: int, world: int, port: int) -> None:
    """A hook: what torchrun sets."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def saved(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, about) of the state that a run would go on from."""
    from pipeline import files

    state = world.state()
    return files.read_safetensors(state / files.read_json(state / "LATEST.json")["file"])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_a_sidecar() -> None:
    """A hook."""
    from pipeline.label import sidecar

    original = sidecar.write_sidecar

    def write(*args: Any) -> None:
        original(*args)
        die()

    sidecar.write_sidecar = write


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(line: Connection) -> None:
    _import_all()
    with contextlib.suppress(EOFError):
        while True:
            asked = line.recv()
            if isinstance(asked, int):
                line.send(os.waitpid(asked, 0)[1])
                continue
            pid = os.fork()
            if pid == 0:
                line.close()
                _child(*asked)
            line.send(pid)


def _child(job: Callable, args: tuple, hooks: tuple[Callable, ...], folder: Path) -> None:
    code = 1
    try:
        out = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for hook in hooks:
            hook()
        (folder / "result").write_bytes(pickle.dumps(job(*args)))
        code = 0
    except Exception as error:
        code = getattr(error, "exit_code", 1)
        print(error, file=sys.stderr)
        if code == 1:
            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _import_all() -> None:
    """Everything that a job may use: the fingerprint of a run holds all code that is loaded, so it must not vary."""
    import importlib

    import torch
    import torch._dynamo  # what the first optimiser imports
    import webdataset  # noqa: F401
    from PIL import Image

    Image.init()

    torch.set_num_threads(1)
    for path in sorted((HERE.parent / "pipeline").rglob("*.py")):
        parts = path.relative_to(HERE.parent).with_suffix("").parts
        if "report" not in parts and "registry" not in parts and "sources" not in parts:
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
    for path in (HERE.parent / "stages").glob("*.py"):
        importlib.import_module(f"stages.{path.stem}")


if __name__ == "__main__":
    sys.modules["tests.harness"] = sys.modules["__main__"]  # what jobs are found in
    _serve(Connection(int(sys.argv[1])))

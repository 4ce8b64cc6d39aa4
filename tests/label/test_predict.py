"""The same bytes by whatever way they were made."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from pipeline.errors import BadData, Diverged
from pipeline.label import predict as module
from pipeline.label.look import Look
from pipeline.label.predict import predict
from pipeline.label.sidecar import read_sidecar
from pipeline.views.view import View
from tests.label.conftest import CLASSES, Teacher, digests, label, look, make_shards


def test_rows_are_the_teacher_s_logits_in_the_order_of_the_shard(tmp_path, shards):
    teacher = Teacher()
    paths = label(
        shards, tmp_path / "out", teacher, look=Look([View("plain", 8, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])], False, 0)
    )
    assert [path.name for path in paths] == [f"unlabelled-{i:06d}.safetensors" for i in range(5)]
    seen = shards.images(range(len(shards))).float() / 255
    seen = (seen - torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(-1, 1, 1)
    with torch.no_grad():
        logits = teacher.eval()(seen)
    found = torch.cat([read_sidecar(path).logits(slice(None)) for path in paths])
    torch.testing.assert_close(found, logits - logits.amax(1, keepdim=True), atol=5e-3, rtol=1e-3)
    assert read_sidecar(paths[-1]).about["rows"] == 3


def test_the_teacher_is_left_as_it_was(tmp_path, shards):
    teacher = Teacher().train()
    teacher.layers[1].eval()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    label(shards, tmp_path / "out", teacher)
    assert [m.training for m in teacher.layers] == [True, False, True, True, True, True, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_any_number_of_ranks_makes_the_same_bytes(tmp_path, shards):
    label(shards, tmp_path / "one")
    for world, each in {2: [2, 3], 3: [1, 2, 2], 7: [0, 0, 1, 1, 1, 1, 1]}.items():  # 7: more than there are shards
        parts = [label(shards, tmp_path / str(world), rank=rank, world=world) for rank in reversed(range(world))]
        assert [len(part) for part in parts] == each
        assert digests(tmp_path / str(world)) == digests(tmp_path / "one")


def test_batches_never_cross_shards(tmp_path, shards):
    """A teacher that looks at its whole batch: what it says of a shard must not depend on the shards around it."""

    class Whole(Teacher):
        def forward(self, x):
            return super().forward(x - x.mean())

    label(shards, tmp_path / "all", Whole(), batch=4)
    label(shards, tmp_path / "some", Whole(), batch=4, rank=1, world=4)
    some = digests(tmp_path / "some")
    assert len(some) == 1 and some.items() <= digests(tmp_path / "all").items()


def test_finished_sidecars_are_left_alone(tmp_path, shards):
    paths = label(shards, tmp_path / "out")
    before, whole = [os.stat(path) for path in paths], digests(tmp_path / "out")
    paths[1].unlink()
    paths[3].write_bytes(paths[3].read_bytes()[:-1])
    (tmp_path / "out" / f".{paths[1].name}.tmp-999999999").write_bytes(b"half")
    counted = []
    assert label(shards, tmp_path / "out", progress=lambda done, text: counted.append(done)) == paths
    after = [os.stat(path) for path in paths]
    same = [(a.st_ino, a.st_mtime_ns) == (b.st_ino, b.st_mtime_ns) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, True, False, True]
    assert digests(tmp_path / "out") == whole
    assert counted == [15, 17, 18, 20, 22, 23]  # 13 were done


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": "b" * 64},
        {"precision": "bf16"},
        {"look": look(mean=0.4)},
        {"look": look(views=("flip(1)",))},
        {"look": look(noise=True)},
        {"batch": 3},
    ],
    ids=["teacher", "precision", "normalised", "view", "noise", "batch"],
)
def test_another_teacher_or_transform_is_made_anew(tmp_path, shards, change):
    paths = label(shards, tmp_path / "out")
    before = [(path.stat().st_mtime_ns, read_sidecar(path).about) for path in paths]
    label(shards, tmp_path / "out", **change)
    for path, (time_before, about) in zip(paths, before, strict=True):
        assert path.stat().st_mtime_ns > time_before and read_sidecar(path).about != about


def test_sidecars_of_other_shards_are_removed(tmp_path, shards):
    label(shards, tmp_path / "out")
    fewer = make_shards(tmp_path / "fewer", n=10)
    label(fewer, tmp_path / "out")
    assert len(digests(tmp_path / "out")) == 2


KILLED = """
import os, sys
from tests.label.conftest import *
class Mortal(Teacher):
    left = int(sys.argv[2])
    def forward(self, x):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), 9)
        return super().forward(x)
folder = Path(sys.argv[1])
label(ShardSet.open(folder / "unlabelled"), folder / "out", Mortal())
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, shards):
    label(shards, tmp_path / "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "8"], env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == -9
    killed = {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    assert len(killed) == 2
    label(shards, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    assert all((tmp_path / "out" / name).stat().st_ino == number for name, number in killed.items())


def test_a_kill_inside_the_write_leaves_no_sidecar(tmp_path, shards, monkeypatch):
    """What a SIGKILL between write and rename leaves: a temporary file of a process that is dead."""
    label(shards, tmp_path / "whole")
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        label(shards, tmp_path / "out")
    monkeypatch.undo()
    left = [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert len(left) == 1 and len(list((tmp_path / "out").glob("*.safetensors"))) == 2
    left[0].rename(left[0].with_name(left[0].name.rpartition("-")[0] + "-999999999"))
    label(shards, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_teacher_of_other_classes_is_refused(tmp_path, shards):
    with pytest.raises(BadData, match=r"classes_sha256 \w{64}, but the teacher's is other"):
        about = {"teacher": "a", "classes_sha256": "other"}
        predict(Teacher(), shards, tmp_path, about, look(), batch=2, device="cpu", precision="fp32")
    with pytest.raises(BadData, match=f"{len(CLASSES)} classes, but the teacher has 7"):
        label(shards, tmp_path, Teacher(7))


def test_logits_that_are_not_finite_name_the_image(tmp_path, shards):
    class Broken(Teacher):
        def forward(self, x):
            out = super().forward(x)
            return torch.where(x.sum((1, 2, 3))[:, None] == worst, float("nan"), out)

    worst = ((shards.images(range(23)).float() / 255 - 0.5) / 0.25).sum((1, 2, 3))[7]
    with pytest.raises(Diverged, match=r"unlabelled-000001\.tar: k00007"):
        label(shards, tmp_path / "out", Broken())
    assert len(digests(tmp_path / "out")) == 1


def test_a_damaged_shard_is_refused(tmp_path, shards):
    path = shards.shards[2].path
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadData, match=r"unlabelled-000002\.tar: damaged"):
        label(shards, tmp_path / "out")


def test_decoding_runs_ahead_of_the_teacher_and_not_far(tmp_path, shards):
    """While the teacher looks at a batch, the next two are decoded by another thread, and no more than two."""
    asked, seen, ahead = [], [], []
    real = shards.images

    def images(rows):
        asked.append(threading.current_thread())
        return real(rows)

    class Watching(Teacher):
        def forward(self, x):
            seen.append(1)
            limit = time.monotonic() + 2
            while len(asked) < min(len(seen) + module.AHEAD, 14) and time.monotonic() < limit:
                time.sleep(0.001)
            ahead.append(len(asked) - len(seen))
            return super().forward(x)

    shards.images = images
    label(shards, tmp_path / "out", Watching())
    assert len(asked) == 14 and ahead == [2] * 12 + [1, 0]
    assert threading.main_thread() not in asked


MEMORY = """
import sys
from tests.label.conftest import *
shards = ShardSet.open(Path(sys.argv[1]))
label(shards, Path(sys.argv[2]), batch=16)
status = Path("/proc/self/status").read_text()  # not ru_maxrss, which a child inherits from its parent
print(status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_number_of_shards(tmp_path):
    peaks = []
    for count in (10, 40):
        make_shards(tmp_path / f"s{count}", n=count * 64, per_shard=64, size=64)  # 64 x 64 x 3 x 1,920 more: 22 MiB
        run = [sys.executable, "-c", MEMORY, str(tmp_path / f"s{count}"), str(tmp_path / f"o{count}")]
        environment = os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        peaks.append(int(subprocess.run(run, check=True, capture_output=True, env=environment).stdout) / 1024)
    assert peaks[1] - peaks[0] < 8, peaks

"""D1: the disk is full at one byte or another: CannotWrite says where and how much, and what was there stays whole."""

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.errors import CannotWrite
from tests.harness import World, at_step, shards, stage, terminate

PAGE = 4096


def tree(folder: Path) -> dict[str, str]:
    every = (path for path in folder.rglob("*") if path.is_file() and path.name != "filler")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in every}


def checkpoint(folder: Path, seed: int) -> None:
    import torch
    from torch import nn

    from pipeline.engine.checkpoint import Checkpoint

    torch.manual_seed(seed)
    method = nn.Linear(200, 100)
    Checkpoint(folder, 0).save(seed, method, torch.optim.SGD(method.parameters(), lr=0.1), {"history": []})


def a_model(folder: Path, seed: int) -> None:
    import torch
    from torch import nn

    from pipeline import params
    from pipeline.nets.branch import Branch
    from pipeline.nets.encoder import build_encoder
    from pipeline.nets.model import save_model

    torch.manual_seed(seed)
    encoder = build_encoder(params.Encoder(args={"width": 8}), 1, 8, [0.5], [0.25])
    with files.publish(folder / "model") as inside:
        save_model(inside, Branch(encoder, nn.Identity()), {"kind": "encoder", "stage": "a", "classes": ["a", "b"]})


def a_split(folder: Path, seed: int) -> None:
    shards(folder, seed=seed)


def labels(folder: Path, seed: int) -> None:
    import torch

    from pipeline.label import sidecar

    kept = ShardSet.open(folder.parent / "shards" / "unlabelled")
    torch.manual_seed(seed)
    with files.publish(folder / "labels") as inside:
        for shard in kept.shards:
            page = sidecar.describe(shard, kept, "a" * 64, "none", 16)
            sidecar.write_sidecar(sidecar.sidecar_path(inside, shard), torch.randn(shard.samples, 4), page)


def some_json(folder: Path, seed: int) -> None:
    files.write_json(folder / "page.json", {"numbers": list(range(seed, seed + 3000))})


ARTEFACTS = {"checkpoint": checkpoint, "shards": a_split, "labels": labels, "model": a_model, "json": some_json}


@contextlib.contextmanager
def no_file_beyond(limit: int):
    """The kernel cuts every file of this process there: exact to the byte, for anyone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def free_pages(folder: Path, pages: int):
    """A file that fills the disk but for these."""
    with open(folder / "filler", "wb") as filler:
        free = os.statvfs(folder).f_bavail - pages
        filler.write(bytes(free * PAGE))
    try:
        yield
    finally:
        (folder / "filler").unlink()


def wrong_with(folder: Path, name: str, limits: list[int], full) -> list[str]:
    """Write once, then again under each limit; what is not as it should be."""
    write, wrong, stopped = ARTEFACTS[name], [], 0
    write(folder, 1)
    before = tree(folder)
    for limit in limits:
        try:
            with full(limit):
                write(folder, 2)
        except CannotWrite as error:
            stopped += 1
            said = str(error)
            if str(folder) not in said or "bytes" not in said or len(said.splitlines()) > 1:
                wrong.append(f"{limit}: says {said!r}")
        except OSError as error:
            wrong.append(f"{limit}: {error!r}")
        else:
            shutil.rmtree(folder)
            folder.mkdir()
            write(folder, 1)
        if not whole(before, tree(folder), name):
            wrong.append(f"{limit}: was {sorted(before)}, is {sorted(tree(folder))}")
            return wrong
    return wrong if stopped else [*wrong, "nothing was ever full"]


def whole(before: dict[str, str], now: dict[str, str], name: str) -> bool:
    """The three splits are published one by one: each is the old one, or all of the new. A state may lie unnamed."""
    if name == "shards":
        return now.keys() == before.keys()
    return before.items() <= now.items() and all(extra.startswith("step-") for extra in now.keys() - before.keys())


def limits_of_files(folder: Path, name: str, count: int) -> list[str]:
    Image.init()
    folder.mkdir()
    shards(folder.parent / "shards")
    largest = max(path.stat().st_size for path in sized(folder, name))
    limits = [round(largest * i / count) for i in range(count)]
    return wrong_with(folder, name, limits, no_file_beyond)


def sized(folder: Path, name: str) -> list[Path]:
    ARTEFACTS[name](folder, 1)
    return [path for path in folder.rglob("*") if path.is_file()]


def limits_of_disk(folder: Path, name: str, count: int, disk: Path) -> list[str]:
    Image.init()
    folder.mkdir()
    shards(folder.parent / "shards")
    largest = sum(path.stat().st_size for path in sized(folder, name)) // PAGE + 2
    limits = sorted({round(largest * i / count) for i in range(count)})
    return wrong_with(folder, name, limits, partial(free_pages, disk))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_file_cut_at_a_byte(forks, tmp_path, name, dose):
    assert forks.call(limits_of_files, tmp_path / "here", name, dose(10, 40)) == []


def write_in_place() -> None:
    def write_bytes(path, data):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(path).write_bytes(data)
        except OSError as error:
            raise CannotWrite(f"{path}: {len(data)} bytes: {error.strerror}") from error

    files.write_bytes = write_bytes


def test_mutant_is_seen(forks, tmp_path):
    assert forks.call(limits_of_files, tmp_path / "here", "json", 10, hooks=[write_in_place])


@pytest.fixture
def disk(tmp_path):
    """A disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place]).returncode:
        pytest.skip("mounting a small disk takes root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_disk_full_at_a_page(forks, disk, name, dose):
    assert forks.call(limits_of_disk, disk / "here", name, dose(5, 40), disk) == []


@pytest.mark.faults
@pytest.mark.parametrize("name", ["finetune", "label"])
def test_disk_full_in_a_stage(forks, template, disk, name, dose):
    """Exit code 73; with some space again, it goes on to the same bytes. The model that was there stays whole."""
    for pages in range(0, 40, dose(16, 1)):
        here = template.copy(disk / "world", name)
        if name == "finetune":
            assert forks.run(stage, here.folder, name, hooks=[partial(at_step, 3, terminate)]) == 143
        old = here.data / "models" / "finetune"
        if not old.exists():
            shutil.copytree(here.data / "models" / "scratch", old)
        before = tree(old)
        with free_pages(disk, pages):
            child = forks.start(stage, here.folder, name)
            code = forks.wait(child)
        assert code in (0, 73), child.said
        assert code == 73 or pages, "not a page was free"
        if code == 73:
            assert "data/" in child.said and ("bytes" in child.said or "data/work/" in child.said), child.said
            made = {file.rpartition("/")[2]: sha for file, sha in World(template.folder).digests("finetune").items()}
            assert tree(old) == before or tree(old).items() <= made.items()
        assert forks.run(stage, here.folder, name) == 0
        assert here.digests(name) == template.digests(name)
        assert here.litter() == []
        shutil.rmtree(here.folder)

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.prepare import prepare, prepare_more
from pipeline.data.shards import ShardSet
from pipeline.data.standardise import standardise
from pipeline.data.verify import verify
from pipeline.errors import BadData, CannotWrite
from pipeline.params import Data

SPLITS = ("labelled", "unlabelled", "val", "test")


def digest(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def data(class_folders) -> Data:
    return Data(source=str(class_folders), size=8, labels_per_class=3, shard=7)


def opened(root: Path) -> dict[str, ShardSet]:
    return {split: ShardSet.open(root / "data" / "shards" / split) for split in SPLITS}


def test_counts_labels_and_truth(data, tmp_path):
    counts = prepare(data, tmp_path / "data")
    shards = opened(tmp_path)
    assert counts == {"labelled": 9, "unlabelled": 42, "val": 6, "test": 12, "skipped": 0}
    assert {split: len(s) for split, s in shards.items()} == {s: counts[s] for s in SPLITS}
    for split in ("labelled", "val", "test"):
        assert [s.split("/")[0] for s in shards[split].keys] == [
            shards[split].manifest.classes[label] for label in shards[split].labels
        ]
    assert set(shards["unlabelled"].labels.tolist()) == {-1}
    truth = json.loads((tmp_path / "data" / "truth" / "unlabelled.json").read_text())
    assert truth["classes"] == ["ant", "bee", "cat"]
    assert truth["labels"] == {key: truth["classes"].index(key.split("/")[0]) for key in shards["unlabelled"].keys}
    assert verify(tmp_path / "data") == []


def test_out_of_class_and_unknown_images_in_the_truth(data, class_folders, tmp_path, picture):
    (class_folders / "unlabelled").mkdir()
    (class_folders / "unlabelled" / "u.png").write_bytes(picture(7))
    prepare(data.model_copy(update={"classes": ["cat", "ant"], "in_class": 0.5}), tmp_path / "data")
    truth = json.loads((tmp_path / "data" / "truth" / "unlabelled.json").read_text())
    assert {label for key, label in truth["labels"].items() if key.startswith("bee/")} == {-1}
    assert {label for key, label in truth["labels"].items() if key.startswith("cat/")} == {0}
    assert "unlabelled/u" in opened(tmp_path)["unlabelled"].keys
    assert "unlabelled/u" not in truth["labels"]


def test_the_same_bytes_twice_and_with_any_number_of_workers(data, tmp_path):
    made = {}
    for name, workers in (("a", 2), ("b", 2), ("c", 1), ("d", 5)):
        prepare(data, tmp_path / name / "data", workers=workers)
        made[name] = digest(tmp_path / name)
    assert made["a"] == made["b"] == made["c"] == made["d"]
    assert len(made["a"]) == 4 * 2 + 1 + 2 + 6 + 1 + 2  # keys and manifests, truth, shards of 7
    prepare(data.model_copy(update={"seed": 1}), tmp_path / "e" / "data")
    assert digest(tmp_path / "e") != made["a"]


def test_the_copy_of_a_source_gives_the_same_bytes(data, class_folders, tmp_path):
    import shutil

    prepare(data, tmp_path / "a" / "data")
    shutil.copytree(class_folders, tmp_path / "other" / "place")
    prepare(data.model_copy(update={"source": str(tmp_path / "other" / "place")}), tmp_path / "b" / "data")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_further_images_come_whole_and_without_their_labels(data, tmp_path, picture):
    other = tmp_path / "other"
    for split, count in {"train": 12, "test": 5}.items():
        for i in range(count):
            path = other / split / f"class-{i % 3}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(1000 + i))
    prepare(data, tmp_path / "data")
    assert prepare_more(data, str(other), tmp_path / "data", "web") == {"unlabelled": 12, "skipped": 0}
    shards = ShardSet.open(tmp_path / "data" / "shards" / "web")
    assert (shards.labels == -1).all() and shards.manifest.classes == []
    assert all(key.startswith("train/") or "test" not in key for key in shards.keys) and len({*shards.keys}) == 12
    assert shards.decoded(2**30).at([0]).shape == (1, 3, 8, 8)
    assert verify(tmp_path / "data") == []
    (tmp_path / "data" / "shards" / "web" / "keys.txt").write_text("other")
    assert len(verify(tmp_path / "data")) == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_stored_images_are_the_standardised_ones(data, class_folders, tmp_path, channels, kind):
    prepare(data.model_copy(update={"channels": channels, "format": kind}), tmp_path / "data")
    shards = opened(tmp_path)["unlabelled"]
    got = shards.images(range(len(shards))).numpy()
    source = np.stack([standardise((class_folders / f"{k}.png").read_bytes(), 8, channels) for k in shards.keys])
    difference = abs(got.astype(int) - source.transpose(0, 3, 1, 2)).mean()
    assert difference == 0 if kind == "png" else 0 < difference < 12
    if kind == "png":
        scaled = got.transpose(1, 0, 2, 3).reshape(channels, -1) / 255
        assert shards.manifest.mean == pytest.approx(scaled.mean(1).tolist(), rel=1e-12)
        assert shards.manifest.std == pytest.approx(scaled.std(1).tolist(), rel=1e-9)


def test_any_webdataset_user_can_read_the_shards(data, tmp_path):
    import webdataset

    prepare(data, tmp_path / "data")
    for split, shards in opened(tmp_path).items():
        urls = [str(shard.path) for shard in shards.shards]
        samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in samples] == shards.keys
        labels = [int(sample["cls"]) if "cls" in sample else -1 for sample in samples]
        assert labels == shards.labels.tolist()
        pixels = np.stack([standardise(sample["png"], 8, 3) for sample in samples]).transpose(0, 3, 1, 2)
        assert (pixels == shards.images(range(len(shards))).numpy()).all()
        assert ("cls" in samples[0]) == (split != "unlabelled")


def test_a_bad_image_is_named(data, class_folders, tmp_path):
    (class_folders / "bee" / "05.png").write_bytes(b"<html>")
    with pytest.raises(BadData, match=r"bee/05\.png: cannot be decoded: not a JPEG"):
        prepare(data, tmp_path / "data")
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").rglob("*.*"))


def test_too_many_bad_images_stop_even_where_they_may_be_skipped(data, class_folders, tmp_path):
    (class_folders / "bee" / "05.png").write_bytes(b"<html>")
    with pytest.raises(BadData, match=r"1 of 60 images are bad, more than 0\.1 %"):
        prepare(data.model_copy(update={"on_bad": "skip"}), tmp_path / "data")


@pytest.mark.slow
def test_a_bad_image_in_a_thousand_is_skipped(tmp_path, picture):
    for i in range(1000):
        path = tmp_path / "source" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if i == 500 else picture(i, 4, 4))
    data = Data(source=str(tmp_path / "source"), size=4, on_bad="skip")
    counts = prepare(data, tmp_path / "data")
    assert counts["skipped"] == 1
    assert sum(counts[s] for s in ("unlabelled", "val", "test")) == 999
    assert not any("a/500" in shards.keys for shards in opened(tmp_path).values())
    (tmp_path / "source" / "a" / "502.png").write_bytes(b"")
    with pytest.raises(BadData, match="2 of 1000"):
        prepare(data, tmp_path / "data")


FULL_DISK = """
import resource, sys
import webdataset
from pipeline.data.prepare import prepare, prepare_more
from pipeline.errors import CannotWrite
from pipeline.params import Data
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        prepare(Data(source=sys.argv[1], size=8, labels_per_class=3, shard=30, seed=1), sys.argv[2] + "/data")
    except CannotWrite as error:
        print(error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_shards(data, tmp_path):
    prepare(data, tmp_path / "data")
    before = digest(tmp_path / "data")
    largest = max(len(content) for content in before.values())
    limits = [0, 1, 500, 1_000, 3_000, 5_000, 11_000, largest // 2]  # of one file, in place of a full disk
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, data.source, tmp_path, *map(str, limits)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    messages = ran.stdout.splitlines()
    assert len(messages) == len(limits)
    assert all(message.startswith(str(tmp_path / "data" / "shards")) for message in messages)
    assert ran.stderr == ""
    assert digest(tmp_path / "data") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours(data, tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    with pytest.raises(CannotWrite, match="shards"):
        prepare(data, tmp_path / "data")


def test_a_file_in_place_of_the_folder(data, tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(CannotWrite, match="data/shards/labelled"):
        prepare(data, tmp_path / "data")


def test_neither_scan_nor_prepare_pays_for_torch_when_imported():
    code = (
        "import sys, pipeline.data.scan, pipeline.data.prepare as p; print({'torch', 'webdataset'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"

"""Labels that belong to these shards and this teacher, all of them, or an error."""

import shutil

import numpy as np
import pytest
import torch

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.errors import BadData
from pipeline.label import labels as module
from pipeline.label.labels import Labels, Opinion, write_summary
from pipeline.label.sidecar import read_sidecar
from tests.label.conftest import ABOUT, CLASSES, digests, label, make_shards


def opened(folder, shards) -> Labels:
    """Of one teacher, whose sidecars are in `folder`."""
    return Labels(shards, [Opinion.open(folder, shards)])


def test_rows_are_those_of_the_split(folder, shards):
    labels = opened(folder, shards)
    assert len(labels) == 23 and labels.teachers == ["finetune"]
    whole = torch.cat([sidecar.logits(slice(None)) for sidecar in labels.opinions[0].sidecars])
    for rows in ([22, 0, 7, 7, 4, 5], torch.tensor([3]), np.arange(23), []):
        index = torch.as_tensor(rows, dtype=torch.int64)
        assert torch.equal(labels.logits(rows), whole[index])
    probabilities = whole.softmax(1)
    assert torch.equal(labels.confidence(), probabilities.amax(1))
    assert torch.equal(labels.guess(), probabilities.argmax(1))
    assert labels.confidence().dtype == torch.float32 and labels.guess().dtype == torch.int64


def test_many_classes_go_through_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 3)  # two blocks in a shard
    shards = make_shards(tmp_path / "unlabelled", n=7, per_shard=4, classes=[f"c{i:03d}" for i in range(300)])
    label(shards, tmp_path / "labels", top=5)
    write_summary(tmp_path / "labels", shards, "t", ABOUT)
    labels = opened(tmp_path / "labels", shards)
    assert labels.opinions[0].sidecars[0].tensors["logits"].shape == (4, 5)
    logits = labels.logits(range(7))
    assert logits.shape == (7, 300)
    assert torch.equal(
        labels.guess(), torch.cat([s.tensors["indices"][:, 0].long() for s in labels.opinions[0].sidecars])
    )
    torch.testing.assert_close(labels.confidence(), logits.softmax(1).amax(1))


@pytest.mark.parametrize("row", [-1, 23])
def test_a_row_outside_the_split(folder, shards, row):
    with pytest.raises(IndexError, match=f"{row} of 23"):
        opened(folder, shards).logits([row])


def test_the_summary_names_everything(folder, shards):
    summary = files.read_json(folder / "summary.json")
    assert summary["classes"] == CLASSES and summary["teacher_sha256"] == "a" * 64 and summary["rows"] == 23
    assert [entry["name"] for entry in summary["shards"]] == [shard.name for shard in shards.shards]
    for entry in summary["shards"]:
        assert entry["sidecar_sha256"] == files.sha256(folder / entry["sidecar"])
        assert entry["sha256"] == files.sha256(shards.folder / entry["name"])


def change_about(path, **change):
    sidecar = read_sidecar(path)
    files.write_safetensors(path, {name: t.clone() for name, t in sidecar.tensors.items()}, sidecar.about | change)


@pytest.mark.parametrize(
    "what, told", [("teacher", "teacher"), ("shard_sha256", "shard"), ("keys_sha256", "keys"), ("classes_sha256", "cl")]
)
def test_a_different_hash_is_refused_and_both_are_named(folder, shards, what, told):
    path = folder / "unlabelled-000002.safetensors"
    expected = read_sidecar(path).about[what]
    change_about(path, **{what: "f" * 64})
    for read in (lambda: opened(folder, shards), lambda: write_summary(folder, shards, "finetune", ABOUT)):
        with pytest.raises(BadData) as error:
            read()
        for text in (str(path), told, "f" * 64, expected):
            assert text in str(error.value)


@pytest.mark.parametrize("what", ["shard", "transform"])
def test_another_shard_s_name_or_transform_is_refused(folder, shards, what):
    change_about(folder / "unlabelled-000001.safetensors", **{what: "other"})
    with pytest.raises(BadData, match=rf"unlabelled-000001\.safetensors: {what} other"):
        opened(folder, shards)


def test_two_sidecars_that_changed_places(folder, shards):
    one, two = folder / "unlabelled-000000.safetensors", folder / "unlabelled-000001.safetensors"
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    with pytest.raises(BadData, match=r"unlabelled-000000\.safetensors: shard unlabelled-000001"):
        opened(folder, shards)


def test_a_missing_sidecar_is_refused(folder, shards):
    (folder / "unlabelled-000003.safetensors").unlink()
    with pytest.raises(BadData, match=r"unlabelled-000003\.safetensors: no such file"):
        opened(folder, shards)


def test_an_extra_sidecar_is_refused(folder, shards):
    shutil.copy(folder / "unlabelled-000003.safetensors", folder / "unlabelled-000009.safetensors")
    with pytest.raises(BadData, match=r"unlabelled-000009\.safetensors: there is no such shard"):
        opened(folder, shards)


def test_shards_that_were_made_again_are_refused(folder, shards, tmp_path):
    other = make_shards(tmp_path / "again" / "unlabelled", seed=1)
    with pytest.raises(BadData, match="shard_sha256"):
        opened(folder, other)


def test_one_flipped_bit_is_noticed(folder, shards):
    path = folder / "unlabelled-000002.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 4
    path.write_bytes(data)
    with pytest.raises(BadData, match=r"unlabelled-000002\.safetensors: sha256"):
        opened(folder, shards)


def test_labels_without_a_summary_are_not_finished(folder, shards):
    (folder / "summary.json").unlink()
    with pytest.raises(BadData, match=r"summary\.json"):
        opened(folder, shards)


@pytest.mark.parametrize("page", [{}, [], {"teacher": "t", "shards": [1]}])
def test_a_page_that_is_no_summary_is_refused(folder, shards, page):
    files.write_json(folder / "summary.json", page)
    with pytest.raises(BadData, match="not a summary of labels"):
        opened(folder, shards)


def test_reading_changes_no_file(folder, shards):
    before = digests(folder)
    labels = opened(folder, ShardSet.open(shards.folder))
    labels.confidence(), labels.logits([1])
    assert digests(folder) == before


def test_labels_know_whose_they_are(folder, shards):
    labels = opened(folder, shards)
    labels.opinions[0].is_of("a" * 64)
    with pytest.raises(
        BadData, match=rf"teacher {'a' * 64}, but models/finetune/model.json says {'b' * 64}; run `label`"
    ):
        labels.opinions[0].is_of("b" * 64)

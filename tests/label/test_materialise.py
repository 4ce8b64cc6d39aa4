"""What other programs read: the chosen images as they are stored, with the teacher's word for each."""

import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
import webdataset
from PIL import Image

from pipeline.data.prepare import prepare
from pipeline.data.shards import ShardSet
from pipeline.data.verify import verify_folder
from pipeline.data.write import write_split
from pipeline.errors import ParamsError
from pipeline.label.labels import Labels, Opinion, write_summary
from pipeline.label.materialise import materialise
from pipeline.label.select import select
from pipeline.label.stop import skip
from pipeline.params import Data, Select
from pipeline.verify import verify
from stages import tools
from tests.label.conftest import ABOUT, CLASSES, Teacher, digests, label

RULES = Select(threshold=0.3, quota=6)


@pytest.fixture
def labels(folder, shards):
    return Labels(shards, [Opinion.open(folder, shards)])


@pytest.fixture
def chosen(labels):
    selection = select(labels.confidence(), labels.guess(), labels.shards.keys, RULES, 0, 4)
    assert 0 < len(selection.rows) < 23 and selection.weights.max() > 1, "or it would not show"
    return selection


def stored(folder: Path) -> dict[str, bytes]:
    """Every member of the tars of a folder, by tarfile alone."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
    return found


def test_any_webdataset_user_can_read_them(tmp_path, labels, chosen):
    """In the order of the shards, each image once and byte for byte, with what the sidecars say of it."""
    materialise(labels, chosen, tmp_path / "out", 4)
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(urls) == -(-len(chosen.rows) // 4) > 1
    assert [sample["__key__"] for sample in samples] == [labels.shards.keys[row] for row in chosen.rows]
    images, probabilities = stored(labels.shards.folder), labels.logits(range(23)).softmax(1)
    for sample, row, weight in zip(samples, chosen.rows.tolist(), chosen.weights.tolist(), strict=True):
        label = int(probabilities[row].argmax())
        assert sample["png"] == images[f"{sample['__key__']}.png"]
        assert sample["cls"] == str(label).encode()
        confidence = pytest.approx(float(probabilities[row, label]), abs=1e-6)
        about = {"class": CLASSES[label], "confidence": confidence, "teachers": ["finetune"], "weight": weight}
        assert json.loads(sample["json"]) == about
    decoded = next(iter(webdataset.WebDataset(urls[0], shardshuffle=False).decode("torchrgb").to_tuple("png", "cls")))
    assert decoded[0].shape == (3, 8, 8) and isinstance(decoded[1], int)


def test_a_second_time_the_same_bytes(tmp_path, folder, labels, chosen):
    materialise(labels, chosen, tmp_path / "one", 4)
    again = ShardSet.open(labels.shards.folder)
    materialise(Labels(again, [Opinion.open(folder, again)]), chosen, tmp_path / "two", 4)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert {"manifest.json", "keys.txt", "labelled-000000.tar"} <= set(digests(tmp_path / "one"))


@pytest.fixture
def picture():
    """A JPEG image, which is not what it was once it is encoded again."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).convert("RGB").save(out, "JPEG", quality=40)
    return out.getvalue()


def test_jpeg_stays_jpeg(tmp_path, picture, labels, chosen):
    """The name of the member is that of what it holds, whatever params.yaml says by now."""
    samples = [(key, picture, -1) for key in labels.shards.keys]
    write_split(tmp_path / "jpg", "unlabelled", samples, classes=CLASSES, size=8, per_shard=5, extension="jpg")
    materialise(Labels(ShardSet.open(tmp_path / "jpg"), labels.opinions), chosen, tmp_path / "out", 100)
    found = stored(tmp_path / "out")
    assert [data for name, data in found.items() if name.endswith(".jpg")] == [picture] * len(chosen.rows)
    assert len(found) == 3 * len(chosen.rows) and verify_folder(tmp_path / "out") == []


def test_two_teachers_are_both_named(tmp_path, labels):
    """And the class is that of their mean probability."""
    label(labels.shards, tmp_path / "other", Teacher(4, seed=1), "b" * 64)
    write_summary(tmp_path / "other", labels.shards, "baseline", ABOUT)
    both = Labels(labels.shards, [*labels.opinions, Opinion.open(tmp_path / "other", labels.shards)])
    every = select(both.confidence(), both.guess(), labels.shards.keys, Select(threshold=0.0), 0, 4)
    materialise(both, every, tmp_path / "out", 100)
    found = [json.loads(data) for name, data in stored(tmp_path / "out").items() if name.endswith(".json")]
    mean = sum(Labels(labels.shards, [each]).logits(range(23)).softmax(1) for each in both.opinions) / 2
    assert [about["class"] for about in found] == [CLASSES[c] for c in mean.argmax(1).tolist()]
    assert [about["confidence"] for about in found] == pytest.approx(mean.amax(1).tolist(), abs=1e-6)
    assert {tuple(about["teachers"]) for about in found} == {("finetune", "baseline")}


def test_verify_reads_all_of_it(tmp_path, labels, chosen):
    """Named, and among the rest of data/."""
    out = tmp_path / "materialised" / "1"
    materialise(labels, chosen, out, 4)
    assert list(verify(out)) == []
    (tmp_path / "shards").mkdir()
    labels.shards.folder.rename(tmp_path / "shards" / "unlabelled")
    assert list(verify(tmp_path)) == []
    data = bytearray((out / "labelled-000001.tar").read_bytes())
    data[600] ^= 1
    (out / "labelled-000001.tar").write_bytes(data)
    for root in (out, tmp_path):
        assert any("labelled-000001.tar: sha256" in line for line in verify(root))


def test_what_is_there_already_is_refused(tmp_path, labels, chosen):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("the work of a day")
    with pytest.raises(ParamsError, match="out is there already; remove it, or name another folder with --to"):
        materialise(labels, chosen, tmp_path / "out", 4)
    assert digests(tmp_path / "out") == {"mine": b"the work of a day"}


def test_nothing_selected_is_refused(tmp_path, labels):
    none = select(labels.confidence(), labels.guess(), labels.shards.keys, Select(threshold=1.0), 0, 4)
    with pytest.raises(ParamsError, match=r"lower distill\.select\.threshold, now 1\.0"):
        materialise(labels, none, tmp_path / "out", 4)
    assert not (tmp_path / "out").exists()


def test_another_project_learns_from_them(tmp_path, labels):
    """As its train/, beside test images of its own: the same keys, pixels and labels."""
    every = select(labels.confidence(), labels.guess(), labels.shards.keys, Select(threshold=0.0), 0, 4)
    materialise(labels, every, tmp_path / "source" / "train", 4)
    image = labels.shards.encoded([0])[0]
    tests = [(f"t{i}", image, i % 4) for i in range(8)]
    write_split(tmp_path / "source" / "test", "test", tests, classes=CLASSES, size=8)
    source = {"source": str(tmp_path / "source"), "classes": CLASSES, "size": 8, "validation": 0.0}
    counts = prepare(Data.model_validate(source), tmp_path / "data")
    found = ShardSet.open(tmp_path / "data" / "shards" / "labelled")
    rows = [labels.shards.keys.index(key) for key in found.keys]
    assert found.manifest.classes == CLASSES and counts["test"] == 8 and sorted(rows) == list(range(23))
    assert found.labels.tolist() == labels.guess()[rows].tolist()
    assert torch.equal(found.images(range(23)), labels.shards.images(rows))
    assert list(verify(tmp_path / "data")) == []


PARAMS = """\
seed: 3
data: {shard: 4}
distill: {select: {threshold: 0.3, quota: 6}}
rounds:
  "1": {teacher: finetune, method: noisy_student}
  "2": {teacher: finetune, method: self_training, distill: {select: {threshold: 0.0, quota: 40}}}
"""


@pytest.mark.parametrize("name", ["1", "2"])
def test_the_command(tmp_path, monkeypatch, capsys, labels, folder, name):
    """What the student of the round learns from: its own rules, and each image once where the method wants it so."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    for made, place in ((folder, f"data/labels/{name}/finetune"), (labels.shards.folder, "data/shards/unlabelled")):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        made.rename(place)
    tools.materialise(name, None, [], Path("params.yaml"))
    said, out = capsys.readouterr().out, Path("data/materialised") / name
    found = {key: json.loads(data) for key, data in stored(out).items() if key.endswith(".json")}
    assert said == f"{len(found)} of 23 images, labelled by finetune, are in {out}\n"
    rules = Select(threshold=0.3, quota=6) if name == "1" else Select(threshold=0.0, quota=40)
    expected = select(labels.confidence(), labels.guess(), labels.shards.keys, rules, 3, 4)
    assert [about["weight"] for about in found.values()] == (expected.weights.tolist() if name == "1" else [1] * 23)
    assert expected.weights.max() > 1, "or it would not show"
    tools.verify(out)
    assert capsys.readouterr().out == f"all of {out}/ is what it should be\n"
    tools.materialise(name, Path("mine"), [], Path("params.yaml"))
    assert digests(Path("mine")) == digests(out)


def test_a_round_that_was_skipped_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    skip(Path("data/labels/1/finetune"), "finetune", "no gain")
    with pytest.raises(ParamsError, match="round 1 is skipped and has no labels: no gain; name another round"):
        tools.materialise("1", None, [], Path("params.yaml"))

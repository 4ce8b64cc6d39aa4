import io
import tarfile

import pytest

from pipeline.data.manifest import seal
from pipeline.data.verify import verify
from pipeline.data.write import write_split
from pipeline.files import read_json, sha256, write_json


def messages(root) -> str:
    return "\n".join(map(str, verify(root / "data")))


def rewrite(folder, name, change):
    """Replace the shard by one with other members, and make the manifest agree with its bytes."""
    path = folder / name
    with tarfile.open(path) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]
    with tarfile.open(path, "w|") as tar:
        for member, content in change(members):
            about = tarfile.TarInfo(member)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    page = read_json(folder / "manifest.json")
    for shard in page["shards"]:
        if shard["name"] == name:
            shard |= {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_json(folder / "manifest.json", seal(page))


def test_whole_shards_have_no_findings(folder, tmp_path):
    assert verify(tmp_path / "data") == []
    rewrite(folder, "labelled-000001.tar", lambda members: members)  # another header style, the same members
    assert verify(tmp_path / "data") == []


def test_no_shards_is_a_finding(tmp_path):
    assert "no shards" in messages(tmp_path)


def test_files_that_are_missing_cut_changed_or_extra(folder, tmp_path):
    (folder / "labelled-000000.tar").unlink()
    with open(folder / "labelled-000001.tar", "r+b") as file:
        file.truncate(5000)
    with open(folder / "labelled-000002.tar", "r+b") as file:
        file.seek(2000)
        file.write(b"x")
    (folder / "keys.txt").write_text("a\n")
    (folder / "more.tar").write_bytes(b"")
    found = messages(tmp_path)
    assert len(verify(tmp_path / "data")) == 5
    for words in (
        "labelled-000000.tar: ",
        "5,000 bytes, the manifest says",
        "000002.tar: sha256",
        "keys.txt",
        "more.tar",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[:-2], "is in the manifest, but not here"),
        (lambda m: m[2:], "is not what the manifest lists here"),
        (lambda m: [*m, ("z.png", b"")], "is not what the manifest lists here"),
        (lambda m: [*m, m[-2]], "is there twice"),
        (lambda m: [*m, ("z.pkl", b"x")], "'z.pkl' is not a key with one of"),
        (lambda m: [*m, ("../z.json", b"x")], "'../z.json' is not a key with one of"),
        (lambda m: [*m[:-1], (m[-1][0], b"x" * len(m[-1][1]))], "cannot be decoded"),
        (lambda m: [(m[0][0], b"7"), *m[1:]], "labelled b'7' in the shard, 2 in the manifest"),
    ],
)
def test_a_shard_that_is_not_what_its_manifest_says(folder, tmp_path, change, message):
    rewrite(folder, "labelled-000002.tar", change)
    assert message in messages(tmp_path)


def test_a_training_image_in_the_test_split(folder, tmp_path, picture):
    image = picture(0, 8, 8)
    for split, keys in (("unlabelled", ["a/00", "v", "t"]), ("val", ["v", "w"]), ("test", ["w", "x"])):
        write_split(folder.parent / split, split, [(k, image, 0) for k in keys], classes=["a", "b", "c"], size=8)
    found = messages(tmp_path)
    assert "1 images of val are in the training splits too, such as 'v'" in found
    assert "1 images of val are in test too, such as 'w'" in found
    assert "24 labelled images are not among the unlabelled, such as 'a/03'" in found
    assert "images of test are in the training" not in found


def test_splits_with_other_classes(folder, tmp_path, picture):
    write_split(folder.parent / "val", "val", [("v", picture(0, 8, 8), 0)], classes=["b", "a", "c"], size=8)
    assert "differ in their class lists" in messages(tmp_path)


def test_labels_in_the_unlabelled_shards_are_a_leak(tmp_path, picture):
    folder = tmp_path / "data" / "shards" / "unlabelled"
    write_split(folder, "unlabelled", [("v", picture(0, 8, 8), 0)], classes=["a"], size=8)
    assert verify(tmp_path / "data") == []
    rewrite(folder, "unlabelled-000000.tar", lambda members: [*members, ("v.cls", b"0")])
    assert "v: labelled b'0' in the shard, -1 in the manifest" in messages(tmp_path)

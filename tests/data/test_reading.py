import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.data import manifest as manifests
from pipeline.data.images import Images, OnDemand
from pipeline.data.shards import ShardSet
from pipeline.data.write import write_split
from pipeline.errors import BadData, WrongVersion
from pipeline.files import read_json, write_json


def test_rows_in_any_order_and_again(folder, pixels):
    rows = [24, 3, 3, 11, 0]
    for given in (rows, torch.tensor(rows), np.array(rows)):
        got = ShardSet.open(folder).images(given)
        assert got.dtype == torch.uint8
        assert (got.permute(0, 2, 3, 1).numpy() == pixels[rows]).all()


def test_what_is_known_of_each_row(folder):
    shards = ShardSet.open(folder)
    assert shards.keys == [f"{'abc'[i % 3]}/{i:02d}" for i in range(25)]
    assert shards.labels.tolist() == [i % 3 for i in range(25)]
    assert shards.labels.dtype == np.int64
    assert [(s.name, s.start, s.samples) for s in shards.shards] == [
        ("labelled-000000.tar", 0, 10),
        ("labelled-000001.tar", 10, 10),
        ("labelled-000002.tar", 20, 5),
    ]
    assert [key for shard in shards.shards for key in shard.keys] == shards.keys
    assert (folder / "keys.txt").read_text().splitlines() == shards.keys
    assert (len(shards), shards.manifest.classes, shards.manifest.size) == (25, ["a", "b", "c"], 8)


def test_a_row_is_the_member_that_tarfile_finds(folder):
    import tarfile

    shards = ShardSet.open(folder)
    with tarfile.open(folder / "labelled-000001.tar") as tar:
        member = tar.extractfile(f"{shards.keys[12]}.png").read()
    assert (shards.images([12])[0].permute(1, 2, 0).numpy() == np.asarray(Image.open(io.BytesIO(member)))).all()


def test_rows_outside_are_refused(folder):
    shards = ShardSet.open(folder)
    for rows in ([25], [-1], [0, 99]):
        with pytest.raises(IndexError, match="split of 25"):
            shards.images(rows)
    assert shards.images([]).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("limit", [25 * 3 * 64, 25 * 3 * 64 - 1])
def test_decoded_at_once_or_on_demand(folder, pixels, limit):
    images = ShardSet.open(folder).decoded(limit)
    assert isinstance(images, OnDemand) == (limit < 25 * 3 * 64)
    assert len(images) == 25
    moved = images.to("cpu")
    assert isinstance(moved, Images)
    assert (moved.at(torch.tensor([7, 2])).permute(0, 2, 3, 1).numpy() == pixels[[7, 2]]).all()


def test_what_was_given_out_does_not_change_the_cache(folder):
    images = ShardSet.open(folder).decoded(1 << 20)
    images.at([3]).zero_()
    assert images.at([3]).any()


def test_grey_images_have_one_channel(tmp_path, pixels):
    out = io.BytesIO()
    Image.fromarray(pixels[0]).convert("L").save(out, "PNG")
    write_split(tmp_path / "val", "val", [("k", out.getvalue(), 0)], classes=["a"], size=8, channels=1)
    got = ShardSet.open(tmp_path / "val").images([0])
    assert got.shape == (1, 1, 8, 8)
    assert (got[0, 0].numpy() == np.asarray(Image.fromarray(pixels[0]).convert("L"))).all()


def test_an_empty_split(tmp_path):
    write_split(tmp_path / "val", "val", [], classes=["a"], size=8)
    shards = ShardSet.open(tmp_path / "val")
    assert len(shards) == 0
    assert shards.decoded(100).at([]).shape == (0, 3, 8, 8)


def test_an_image_of_another_size_is_named(tmp_path, picture):
    samples = [("good", picture(0, 8, 8), 0), ("bad", picture(1, 9, 9), 0)]
    write_split(tmp_path / "val", "val", samples, classes=["a"], size=8)
    with pytest.raises(BadData, match=r"val-000000\.tar: bad: 9 x 9 pixels instead of 8 x 8"):
        ShardSet.open(tmp_path / "val").images([0, 1])


def test_a_folder_with_any_name_can_be_written_and_read(tmp_path, picture):
    folder = tmp_path / "a #b?c%d {0..9} é" / "val"
    write_split(folder, "val", [("k", picture(0, 8, 8), 0)], classes=["a"], size=8)
    assert len(ShardSet.open(folder).images([0])) == 1


def test_another_version_is_refused_as_such(folder):
    page = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifests.seal(page | {"version": 2}))
    with pytest.raises(WrongVersion, match="version 2; this ssl-pipe reads version 1"):
        ShardSet.open(folder)


def test_hashes_are_what_the_contract_says(folder):
    from hashlib import sha256

    page = read_json(folder / "manifest.json")
    assert page["classes_sha256"] == sha256(b"a\nb\nc").hexdigest()
    assert page["keys_sha256"] == sha256((folder / "keys.txt").read_bytes()).hexdigest()
    assert page["shards"][0]["sha256"] == sha256((folder / "labelled-000000.tar").read_bytes()).hexdigest()


def test_duplicate_and_malformed_keys_are_not_written(tmp_path, picture):
    for keys, message in (
        (["a", "a"], "'a' is a duplicate"),
        (["a.b"], "bad"),
        (["../a"], "bad"),
        (["x" * 201], "bad"),
    ):
        with pytest.raises(BadData, match=message):
            write_split(tmp_path / "val", "val", [(k, picture(0, 8, 8), 0) for k in keys], classes=["a"], size=8)
        assert not list(tmp_path.iterdir())


def test_shards_may_be_links_into_a_cache(folder, pixels, tmp_path):
    for shard in folder.glob("*.tar"):  # as DVC leaves them with cache.type symlink
        shard.symlink_to(shard.rename(tmp_path / shard.name))
    assert (ShardSet.open(folder).images([11])[0].permute(1, 2, 0).numpy() == pixels[11]).all()

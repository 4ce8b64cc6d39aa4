import json
import struct

import numpy as np
import pytest

from pipeline.data.sources import kind_of, open_source
from pipeline.data.sources.source import key_of
from pipeline.data.standardise import standardise
from pipeline.errors import BadData
from pipeline.params import Data


def labels(source):
    return {item.key: source.classes[item.label] if item.label >= 0 else None for item in source.items}


def splits(source):
    return {item.key: item.split for item in source.items}


def test_an_unknown_source_names_the_choices(tmp_path):
    with pytest.raises(BadData, match=r"'cifar'.*digits, CIFAR10.*FashionMNIST"):
        kind_of(Data(source="cifar"))


@pytest.mark.slow
def test_digits(tmp_path):
    from sklearn.datasets import load_digits

    source, loaded = open_source(Data(source="digits"), tmp_path), load_digits()
    assert source.classes == list("0123456789")
    assert [item.label for item in source.items] == loaded.target.tolist()
    pixels = standardise(source.items[3].read(), 8, 1)[:, :, 0]
    assert abs(pixels / 255 - loaded.images[3] / 16).max() < 0.5 / 255 + 1e-9


def test_class_folders(class_folders, tmp_path):
    source = open_source(Data(source=str(class_folders)), tmp_path)
    assert source.classes == ["ant", "bee", "cat"]
    assert labels(source)["bee/07"] == "bee"
    assert len(source.items) == 60
    assert source.items[0].read() == (class_folders / "ant" / "00.png").read_bytes()


def test_class_folders_beside_splits(class_folders, tmp_path, picture):
    for part, name in (("test/ant", "x.jpg"), ("val/cat", "y.webp"), ("unlabelled/deep/er", "z.JPEG")):
        (class_folders / part).mkdir(parents=True)
        (class_folders / part / name).write_bytes(picture(1))
    source = open_source(Data(source=str(class_folders)), tmp_path)
    assert source.classes == ["ant", "bee", "cat"]
    assert splits(source)["test/ant/x"] == "test"
    assert splits(source)["val/cat/y"] == "val"
    assert labels(source)["unlabelled/deep/er/z"] is None


def test_a_train_folder(class_folders, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    class_folders.rename(whole / "train")
    source = open_source(Data(source=str(whole)), tmp_path)
    assert labels(source)["train/cat/19"] == "cat"


def test_folders_that_cannot_be_understood(class_folders, tmp_path, picture):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadData, match="no class folders"):
        open_source(Data(source=str(empty)), tmp_path)
    (class_folders / "loose.png").write_bytes(picture(0))
    with pytest.raises(BadData, match=r"loose\.png: lies outside"):
        open_source(Data(source=str(class_folders)), tmp_path)
    (class_folders / "loose.png").rename(class_folders / "ant" / "00.jpg")
    with pytest.raises(BadData, match=r"the same key 'ant/00'.*00\.(jpg|png); rename"):
        open_source(Data(source=str(class_folders)), tmp_path)
    (class_folders / "test" / "dog").mkdir(parents=True)
    with pytest.raises(BadData, match="dog: a class that"):
        open_source(Data(source=str(class_folders)), tmp_path)


def test_a_table(tmp_path, picture):
    root = tmp_path / "flat"
    (root / "more").mkdir(parents=True)
    for name in ("1.png", "2.png", "3.png", "more/4.png", "5.png"):
        (root / name).write_bytes(picture(1))
    (root / "labels.csv").write_text("path,label,split\n1.png,dog,\n./2.png,cat,test\nmore/4.png,cat,\n3.png,,\n")
    source = open_source(Data(source=str(root)), tmp_path)
    assert source.classes == ["cat", "dog"]
    assert labels(source) == {"1": "dog", "2": "cat", "3": None, "more/4": "cat", "5": None}
    assert splits(source) == {"1": None, "2": "test", "3": "unlabelled", "more/4": None, "5": "unlabelled"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.png,a\n", "line 1: no column path"),
        ("path,label\n1.png,a\n9.png,b\n", "line 3: there is no image .*9.png"),
        ("path,label\n1.png,a\n1.png,b\n", "line 3: 1.png is already on line 2"),
        ("path,label,split\n1.png,a,dev\n", "line 2: split 'dev'; choose from train"),
        ("path,label,split\n1.png,,test\n", "line 2: 1.png is in test but has no label"),
        ("path,label\n1.png,\n", "no labels"),
        ("path,label\n../1.png,a\n", "there is no image"),
    ],
)
def test_a_bad_table_names_the_line(tmp_path, picture, text, message):
    root = tmp_path / "flat"
    root.mkdir()
    (root / "1.png").write_bytes(picture(1))
    table = tmp_path / "elsewhere.csv"
    table.write_text(text)
    with pytest.raises(BadData, match=message):
        open_source(Data(source=str(root), csv=str(table)), tmp_path)


def test_shards_with_names_in_json_and_in_cls(tmp_path, picture, make_tar):
    a, b = picture(1), picture(2, kind="WEBP")
    make_tar(
        tmp_path / "s" / "00000.tar",
        [
            ("000.jpg", a),
            ("000.json", json.dumps({"label": "dog", "url": "x"}).encode()),
            ("001.txt", b"a caption"),
            ("001.webp", b),
            ("001.cls", b"cat\n"),
            ("./x/002.png", a),
            ("./x/002.json", b"{}"),
        ],
    )
    source = open_source(Data(source=str(tmp_path / "s")), tmp_path)
    assert labels(source) == {"000": "dog", "001": "cat", "x/002": None}
    assert {item.key: item.read() for item in source.items} == {"000": a, "001": b, "x/002": a}


def test_shards_with_numbers(tmp_path, picture, make_tar):
    members = [
        (f"{i}.{kind}", content) for i in range(4) for kind, content in (("png", picture(i)), ("cls", b"%d" % (i % 3)))
    ]
    make_tar(tmp_path / "s" / "train" / "0.tar", members[:6])
    make_tar(tmp_path / "s" / "test" / "0.tar", members[6:])
    plain = open_source(Data(source=str(tmp_path / "s")), tmp_path)
    assert plain.classes == ["0", "1", "2"]
    assert splits(plain) == {"0": "train", "1": "train", "2": "train", "3": "test"}
    named = open_source(Data(source=str(tmp_path / "s"), classes=["x", "y", "z"]), tmp_path)
    assert labels(named) == {"0": "x", "1": "y", "2": "z", "3": "x"}
    subset = open_source(Data(source=str(tmp_path / "s"), classes=["2", "0"]), tmp_path)
    assert subset.classes == ["0", "1", "2"]  # a choice of the numbers, left to the split
    with pytest.raises(BadData, match=r"2 names, but .* label 2"):
        open_source(Data(source=str(tmp_path / "s"), classes=["x", "y"]), tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.cls", b"1")], "1: 0 images"),
        ([("1.png", b""), ("1.jpg", b""), ("1.cls", b"1")], "1: 2 images"),
        ([("1.png", b""), ("1.cls", b"1"), ("2.png", b""), ("2.cls", b"a")], "labels are numbers in some"),
        ([("1.png", b"")], "no sample has a label"),
        ([("1.v2.png", b"")], "ends a key at its first dot"),
        ([("1.png", b""), ("1.json", b"[")], "1.json: no label can be read"),
        ([("1.png", b""), ("1.json", b'{"label": 1.5}')], "'1.5' is neither"),
        ([("1.png", b""), ("1.json", b'{"label": -1}')], "label -1"),
        ([("1.png", b""), ("1.json", b'{"label": true}')], "'True' is neither"),
        ([("1.png", b""), ("1.cls", b"999999")], "label 999999"),
    ],
)
def test_bad_shards_name_the_member(tmp_path, make_tar, members, message):
    make_tar(tmp_path / "s" / "0.tar", members)
    with pytest.raises(BadData, match=message):
        open_source(Data(source=str(tmp_path / "s")), tmp_path)


def test_our_own_shards_are_a_source(folder, pixels, tmp_path):
    source = open_source(Data(source=str(folder), classes=["a", "b", "c"]), tmp_path)
    assert labels(source)["b/01"] == "b"
    assert (standardise({i.key: i.read for i in source.items}["b/01"](), 8, 3) == pixels[1]).all()


@pytest.mark.slow
def test_mnist_from_a_local_copy(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    numbers = (np.arange(30) % 10).astype(np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 30, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 30) + numbers.tobytes())
    source = open_source(Data(source="MNIST"), tmp_path)
    assert len(source.classes) == 10
    assert [(i.split, i.label) for i in source.items[28:32]] == [("train", 8), ("train", 9), ("test", 0), ("test", 1)]
    assert (standardise(source.items[31].read(), 28, 1)[:, :, 0] == pixels[1]).all()


@pytest.mark.slow
def test_stl10_has_its_unlabelled_images(tmp_path, monkeypatch):
    from torchvision.datasets import STL10

    folder = tmp_path / STL10.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test", "unlabeled"):
        pixels.tofile(folder / f"{part}_X.bin")
        (np.arange(4, dtype=np.uint8) + 1).tofile(folder / f"{part}_y.bin")
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    source = open_source(Data(source="STL10"), tmp_path)
    assert source.classes == list("abcdefghij")
    assert [(i.split, i.label) for i in source.items] == [
        *((part, k) for part in ("train", "test") for k in range(4)),
        *(("unlabelled", -1) for _ in range(4)),
    ]
    expected = pixels[2].transpose(2, 1, 0)  # the files hold columns before rows
    for i in (2, 6, 10):
        assert (standardise(source.items[i].read(), 96, 3) == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "STL10", "SVHN", "MNIST", "FashionMNIST"])
def test_what_cannot_be_downloaded_says_where_it_belongs(tmp_path, monkeypatch, name):
    import urllib.error

    import torchvision.datasets as sets

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    for module in ("cifar", "stl10", "svhn", "mnist"):
        for function in ("download_and_extract_archive", "download_url"):
            if hasattr(getattr(sets, module), function):
                monkeypatch.setattr(getattr(sets, module), function, refuse)
    with pytest.raises(BadData, match=rf"{name}: no complete copy in {tmp_path}.*torchvision\.datasets\.{name}"):
        open_source(Data(source=name), tmp_path)


@pytest.mark.parametrize("name", ["a b", "a.b", "é", "a/../b", "x" * 300, "", "/a", "\udcff", "a\nb"])
def test_any_name_becomes_a_key(name):
    from pipeline.data.manifest import KEY

    assert KEY.fullmatch(key_of(name))


def test_two_names_stay_two_keys():
    names = ["a b", "a_b", "a.b", "a-b", "x" * 201, "x" * 202, "x" * 200]
    assert len({key_of(name) for name in names}) == len(names)
    assert key_of("cats/00_1-a") == "cats/00_1-a"

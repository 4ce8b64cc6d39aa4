"""Broken and hostile shards: D3 to D9 and S1 to S3. Controls show what happens without the check."""

import contextlib
import gzip
import io
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data import manifest as manifests
from pipeline.data import tars
from pipeline.data.prepare import prepare
from pipeline.data.shards import ShardSet
from pipeline.data.sources import open_source
from pipeline.data.standardise import standardise
from pipeline.data.verify import verify
from pipeline.data.write import write_split
from pipeline.errors import BadData, PipeError
from pipeline.files import read_json, write_json
from pipeline.params import Data

pytestmark = pytest.mark.faults
SIZE, COUNT = 8, 20


def picture(seed: int, kind: str = "PNG", side: int = SIZE) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def tar_of(path: Path, members: list[tuple[str, bytes]], **changes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            for field, value in changes.items():
                setattr(about, field, value)
            tar.addfile(about, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "data" / "shards" / "labelled"
    samples = [(f"k{i:02d}", picture(i), i % 2) for i in range(COUNT)]
    write_split(path, "labelled", samples, classes=["a", "b"], size=SIZE, per_shard=COUNT)
    return path


@pytest.fixture
def shard(folder) -> Path:
    return folder / "labelled-000000.tar"


def use(folder: Path) -> np.ndarray:
    """What training does: open, then read every image."""
    shards = ShardSet.open(folder)
    return shards.images(range(len(shards))).numpy()


def rewritten(folder: Path, change) -> None:
    """Change the manifest and seal it again: an attacker, not an accident."""
    page = read_json(folder / "manifest.json")
    change(page)
    write_json(folder / "manifest.json", manifests.seal(page))


def cuts(size: int) -> list[int]:
    return sorted({*range(0, size, 512), *random.Random(0).sample(range(size), min(1000, size))})


# D3: a shard is cut


def test_d3_every_cut_shard_is_refused_with_both_sizes(folder, shard):
    whole = shard.read_bytes()
    for size in reversed(cuts(len(whole))):
        os.truncate(shard, size)
        with pytest.raises(BadData, match=rf"labelled-000000\.tar: {size:,} bytes, the manifest says {len(whole):,}"):
            ShardSet.open(folder)


def test_d3_a_cut_that_keeps_the_size_is_refused_at_first_use(folder, shard, monkeypatch):
    whole, expected = shard.read_bytes(), use(folder)
    for size in cuts(len(whole))[::20]:
        shard.write_bytes(whole[:size] + bytes(len(whole) - size))
        if whole[size:].strip(b"\0"):
            with pytest.raises(BadData, match="damaged: sha256"):
                use(folder)
    monkeypatch.setattr(ShardSet, "_verify", lambda *_: None)  # control: without the hash the header's loss is unseen
    shard.write_bytes(bytes(512) + whole[512:])
    assert (use(folder) == expected).all()


@pytest.mark.slow
def test_d3_every_cut_source_is_refused_without_any_manifest(folder, shard, tmp_path):
    whole = shard.read_bytes()
    members = list(tars.members(shard))
    data_end = members[-1].offset + -(-members[-1].size // 512) * 512
    cut, silent = tmp_path / "cut.tar", 0
    for size in cuts(len(whole)):
        cut.write_bytes(whole[:size])
        if size >= data_end + 1024:  # only padding behind the end mark is gone
            assert list(tars.members(cut)) == members
            continue
        with pytest.raises(BadData, match=r"cut\.tar: cut"):
            list(tars.members(cut))
        try:
            with tarfile.open(cut) as tar:
                silent += len(tar.getmembers()) < len(members)
        except tarfile.ReadError:
            pass
    assert silent > 20  # control: tarfile, and so webdataset, loses samples and says nothing


# D4: no shard, another file, one too many


@pytest.mark.parametrize(
    "fault", ["empty", "zeros", "text", "gzip", "missing", "extra", "folder", "swapped", "no manifest"]
)
def test_d4_the_file_is_named(folder, shard, tmp_path, fault):
    whole = shard.read_bytes()
    use(folder)
    if fault in ("missing", "folder"):
        shard.unlink()
    if fault == "folder":
        shard.mkdir()
    contents = {"empty": b"", "zeros": bytes(len(whole)), "text": b"x" * len(whole), "gzip": gzip.compress(whole)}
    if fault in contents:
        shard.write_bytes(contents[fault])
    named = shard
    if fault == "extra":
        named = folder / "labelled-000001.tar"
        named.write_bytes(whole)
    if fault == "swapped":
        other = tmp_path / "other"
        samples = [(f"k{i:02d}", picture(i + 1), i % 2) for i in range(COUNT)]
        write_split(other, "labelled", samples, classes=["a", "b"], size=SIZE)
        shard.write_bytes((other / shard.name).read_bytes())
    if fault == "no manifest":
        named = folder / "manifest.json"
        named.unlink()
    with pytest.raises(BadData, match=re.escape(str(named))) as refused:
        use(folder)
    assert refused.value.exit_code == 65
    assert any(named.name in str(finding) for finding in verify(tmp_path / "data"))


@pytest.mark.parametrize(
    "content", [b"", bytes(10240), b"x" * 10240, gzip.compress(bytes(10240))], ids=["empty", "zeros", "text", "gzip"]
)
def test_d4_a_source_that_is_no_tar_is_named(tmp_path, content):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "0.tar").write_bytes(content)
    with pytest.raises(BadData, match=r"0\.tar|no sample has a label"):
        open_source(Data(source=str(tmp_path / "s")), tmp_path)


# D5: one bit


def flips(content: bytes, count: int):
    draw = random.Random(1)
    for _ in range(count):
        place = draw.randrange(len(content))
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        yield bytes(flipped)


@pytest.mark.slow
def test_d5_a_flipped_bit_of_a_shard(folder, shard, monkeypatch):
    for flipped in flips(shard.read_bytes(), 1000):
        shard.write_bytes(flipped)
        with pytest.raises(BadData, match=r"labelled-000000\.tar: damaged"):
            use(folder)
    monkeypatch.setattr(ShardSet, "_verify", lambda *_: None)
    unseen = 0
    for flipped in flips(shard.read_bytes(), 100):
        shard.write_bytes(flipped)
        with contextlib.suppress(BadData):
            unseen += use(folder).shape == (COUNT, 3, SIZE, SIZE)
    assert unseen > 20  # control


def test_d5_a_bit_that_flips_after_the_first_use(folder, shard):
    shards = ShardSet.open(folder)
    shards.images([0])
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(BadData, match="damaged"):
        shards.images([0])


@pytest.mark.slow
def test_d5_a_flipped_bit_of_the_manifest(folder, monkeypatch):
    page, whole = folder / "manifest.json", (folder / "manifest.json").read_bytes()
    for flipped in flips(whole, 1000):
        page.write_bytes(flipped)
        with pytest.raises(PipeError, match=r"manifest\.json"):
            ShardSet.open(folder)
    monkeypatch.setattr(manifests, "seal", json.loads(whole).__or__)
    unseen = 0
    for flipped in flips(whole, 1000):
        page.write_bytes(flipped)
        with contextlib.suppress(PipeError):
            unseen += len(ShardSet.open(folder)) == COUNT
    assert unseen > 10  # control: labels, means and offsets that are wrong, and nobody says so


@pytest.mark.slow
def test_d5_verify_finds_each_flipped_bit(folder, shard, tmp_path):
    for path in (shard, folder / "keys.txt", folder / "manifest.json"):
        whole = path.read_bytes()
        for flipped in flips(whole, 334):
            path.write_bytes(flipped)
            assert verify(tmp_path / "data"), path
        path.write_bytes(whole)
    assert verify(tmp_path / "data") == []


# D6: images that are not


def mutated(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 3, 30))):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed[: draw.randrange(len(changed)) if draw.random() < 0.2 else len(changed)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_d6_ten_thousand_mutated_images_end_in_pixels_or_in_bad_data():
    draw, refused = random.Random(2), 0
    originals = [picture(i, kind, 16) for i, kind in enumerate(("PNG", "JPEG", "WEBP"))]
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x"
    out = io.BytesIO()
    Image.new("CMYK", (16, 16)).save(out, "JPEG", exif=exif)
    originals.append(out.getvalue())
    for i in range(10_000):
        try:
            assert standardise(mutated(originals[i % 4], draw), SIZE, 3).shape == (SIZE, SIZE, 3)
        except BadData:
            refused += 1
    assert 2000 < refused < 9999  # both ends are reached


# D7: bombs


def png_header(side: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


BOMB = """
import re, sys, time
from pathlib import Path
from pipeline.data.sources import open_source
from pipeline.data.standardise import standardise
from pipeline.errors import BadData
from pipeline.params import Data
standardise(Path(sys.argv[1], "small.png").read_bytes(), 8, 3)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
base, start = peak(), time.perf_counter()
try:
    if sys.argv[2] == "control":
        from PIL import Image
        Image.MAX_IMAGE_PIXELS = None
        Image.open(Path(sys.argv[1], "9000.png")).convert("RGB")
    elif sys.argv[2].endswith(".png"):
        standardise(Path(sys.argv[1], sys.argv[2]).read_bytes(), 8, 3)
    else:
        for item in open_source(Data(source=sys.argv[1] + "/" + sys.argv[2]), Path(sys.argv[1])).items:
            item.read()
except BadData as error:
    print("refused", end=" ")
print((peak() - base) // 1024, time.perf_counter() - start)
"""


@pytest.mark.slow
def test_d7_bombs_are_refused_in_little_memory_and_time(tmp_path):
    (tmp_path / "small.png").write_bytes(picture(0))
    Image.new("RGB", (9000, 9000)).save(tmp_path / "9000.png")  # a true one, small because it is blank
    (tmp_path / "13000.png").write_bytes(png_header(13_000))
    (tmp_path / "60000.png").write_bytes(png_header(60_000))
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz" / "0.tar").write_bytes(gzip.compress(bytes(100 << 20)))
    (tmp_path / "large").mkdir()
    with open(tmp_path / "large" / "0.tar", "wb") as file:  # 2 GiB in one member; a hole, so no disk is used
        about = tarfile.TarInfo("1.png")
        about.size = 2 << 30
        label = tarfile.TarInfo("1.cls")
        label.size = 1
        file.write(label.tobuf() + b"0".ljust(512, b"\0") + about.tobuf())
        file.seek(about.size, os.SEEK_CUR)
        file.write(bytes(1024))
    megabytes = {}
    for bomb in ("9000.png", "13000.png", "60000.png", "gz", "large", "control"):
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", BOMB, tmp_path, bomb], capture_output=True, text=True, check=True
        )
        *refused, megabytes[bomb], seconds = ran.stdout.split()
        if bomb != "control":
            assert refused == ["refused"], bomb
            assert int(megabytes[bomb]) <= 150, bomb
            assert float(seconds) <= 2, bomb
    assert int(megabytes["control"]) > 200


def test_d7_many_members_take_no_memory(tmp_path):
    path = tmp_path / "many.tar"
    header = tarfile.TarInfo("k.txt").tobuf()
    path.write_bytes(header * 5_000 + bytes(1024))

    def peak(count) -> float:
        tracemalloc.start()
        assert count() == 5_000
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size / 2**20

    assert peak(lambda: sum(1 for _ in tars.members(path))) < 0.5
    with tarfile.open(path) as tar:
        assert peak(lambda: len(tar.getmembers())) > 2  # control


# D8: keys that are there twice, samples that are not whole


@pytest.mark.parametrize(
    ("shards", "places"),
    [
        ([[("a.png", b"1"), ("a.png", b"2"), ("a.cls", b"0")]], ["a.png", "bytes 512 and 1536"]),
        ([[("a.png", b"1"), ("b.png", b"1"), ("a.cls", b"0"), ("b.cls", b"0")]], ["0.tar", "a: 0 images"]),
        ([[("a.png", b"1"), ("b.png", b"1"), ("a.png", b"2"), ("a.cls", b"0")]], ["the same key 'a'", "0.tar: a.png"]),
        ([[("a.png", b"1"), ("a.cls", b"0")], [("a.png", b"2")]], ["the same key 'a'", "0.tar: a.png", "1.tar: a.png"]),
        ([[("a.png", b"1"), ("a.jpg", b"1"), ("a.cls", b"0")]], ["0.tar", "a: 2 images"]),
        ([[("a.png", b"1"), ("b.cls", b"0")]], ["0.tar", "b: 0 images"]),
    ],
    ids=["adjacent", "interleaved", "again", "across shards", "two images", "label without image"],
)
def test_d8_both_places_are_named(tmp_path, shards, places):
    for i, members in enumerate(shards):
        tar_of(tmp_path / "s" / f"{i}.tar", members)
    with pytest.raises(BadData) as refused:
        open_source(Data(source=str(tmp_path / "s")), tmp_path)
    assert all(place in str(refused.value) for place in places), refused.value


def test_d8_the_same_sample_once_is_fine(tmp_path):
    tar_of(tmp_path / "s" / "0.tar", [("a.png", b"1"), ("a.cls", b"0")])
    assert len(open_source(Data(source=str(tmp_path / "s")), tmp_path).items) == 1


# D9: classes that do not fit


def test_d9_labels_and_class_lists_that_do_not_fit(folder):
    whole = (folder / "manifest.json").read_bytes()

    def reorder(page):
        page["classes"] = ["b", "a"]

    def too_high(page):
        page["shards"][0]["labels"][3] = 2

    def fewer(page):
        page |= {"classes": ["a"], "classes_sha256": manifests.classes_sha256(["a"])}

    def twice(page):
        page |= {"classes": ["a", "a"], "classes_sha256": manifests.classes_sha256(["a", "a"])}

    def none(page):
        page["shards"][0]["labels"][3] = -1

    for change, message in (
        (reorder, "class list is not the one"),
        (too_high, "k03: label 2, but the classes are 0 to 1"),
        (fewer, "k01: label 1, but the classes are 0 to 0"),
        (twice, "class list"),
        (none, "k03: label -1"),
    ):
        (folder / "manifest.json").write_bytes(whole)
        use(folder)
        rewritten(folder, change)
        with pytest.raises(BadData, match=message):
            ShardSet.open(folder)


# S1: names that leave the folder, members that are not files

HOSTILE = [
    *("../../evil", "/tmp/evil", "a/../../evil", "..", ".", "a\0b", "n" * 10_000, "é" * 90),
    *("\u202egnp.x", "a//b", "~/x", "C:\\x", "-rf", " "),
]
KINDS = [tarfile.REGTYPE] * 6 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]


def fuzzed(path: Path, draw: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=draw.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as tar:
        for i in range(6):
            stem = draw.choice(HOSTILE) if draw.random() < 0.15 else f"k{i}"
            for extension, content in (("png", picture(i)), ("cls", b"%d" % (i % 2))):
                about = tarfile.TarInfo(f"{stem}.{extension}")
                about.size, about.linkname = len(content), draw.choice(HOSTILE)
                about.type = draw.choice(KINDS) if draw.random() < 0.05 else tarfile.REGTYPE
                tar.addfile(about, io.BytesIO(content))
    content = bytearray(path.read_bytes())
    if draw.random() < 0.3:
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


@pytest.mark.slow
def test_s1_five_hundred_fuzzed_tars_write_nothing_outside(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "outside" / "a" / "b"
    draw, prepared = random.Random(3), 0
    for i in range(500):
        fuzzed(inside / "s" / "0.tar", draw)
        try:
            prepare(Data(source=str(inside / "s"), size=SIZE, validation=0.0), inside / "data")
        except PipeError:
            continue
        prepared += 1
        assert verify(inside / "data") == [], i
    found = {p.relative_to(outside).parts[:3] for p in outside.rglob("*") if not p.is_dir()}
    assert found <= {("a", "b", "s"), ("a", "b", "data")}
    assert 50 < prepared < 450  # hostile ones are refused, and harmless ones are not


def test_s1_hostile_names_in_a_source(tmp_path):
    for name in ("../../evil", "/evil", "a/../../evil"):
        tar_of(tmp_path / "s" / "0.tar", [(f"{name}.png", picture(0)), (f"{name}.cls", b"0")])
        with pytest.raises(BadData, match="leaves the archive"):
            open_source(Data(source=str(tmp_path / "s")), tmp_path)


def test_s1_hostile_keys_in_a_manifest(folder):
    whole = (folder / "manifest.json").read_bytes()
    for key in [*HOSTILE[:8], "a\n", "a/", "/a", "a.b", ""]:

        def change(page, key=key):
            page["shards"][0]["keys"][0] = key
            page["keys_sha256"] = manifests.keys_sha256(page["shards"][0]["keys"])

        (folder / "manifest.json").write_bytes(whole)
        rewritten(folder, change)
        with pytest.raises(BadData, match="is not a key"):
            ShardSet.open(folder)
    (folder / "manifest.json").write_bytes(whole)
    rewritten(folder, lambda page: change(page, "fine"))  # control: a plain key of another name passes
    ShardSet.open(folder)


# S2: code in place of data


class Payload:
    def __init__(self, canary: Path):
        self.canary = str(canary)

    def __reduce__(self):
        return (open, (self.canary, "w"))


@pytest.mark.slow
def test_s2_no_payload_is_ever_run(tmp_path):
    import webdataset

    canary = tmp_path / "canary"
    code = pickle.dumps(Payload(canary))
    npz = io.BytesIO()
    np.savez(npz, x=np.array([Payload(canary)], dtype=object), allow_pickle=True)
    extensions = ("pyd", "pkl", "pickle", "pth", "npy", "npz", "pyd.gz", "ten", "mp", "cbor", "json.pkl")
    members = []
    for i in range(10):
        sample = [("png", picture(i)), ("cls", b"%d" % (i % 2))]
        sample += [
            (e, npz.getvalue() if e == "npz" else gzip.compress(code) if "gz" in e else code) for e in extensions
        ]
        members += [(f"k{i}.{extension}", content) for extension, content in sample]
    source = tar_of(tmp_path / "s" / "0.tar", members)
    prepare(Data(source=str(source.parent), size=SIZE), tmp_path / "data")
    labelled = tmp_path / "data" / "shards" / "labelled"
    assert len(use(labelled)) > 0
    shard = labelled / "labelled-000000.tar"
    with tarfile.open(shard) as tar:
        own = [(m.name, tar.extractfile(m).read()) for m in tar]
    tar_of(shard, own[:2] + members[2:13] + own[2:])  # payloads inside a shard of ours
    rewritten(labelled, lambda page: page["shards"][0].update(bytes=shard.stat().st_size))
    with pytest.raises(BadData):
        use(labelled)
    assert any("sha256" in str(finding) for finding in verify(tmp_path / "data"))
    assert any("k0.pyd" in str(finding) for finding in verify(tmp_path / "data"))
    assert not canary.exists()
    list(webdataset.WebDataset([str(source)], shardshuffle=False).decode(handler=webdataset.ignore_and_continue))
    assert canary.exists()  # control: the payload works, and webdataset's decode runs it


@pytest.mark.parametrize("payload", [b"(lp0", b"cos\nsystem\n(S'touch canary'\ntR."])
def test_s2_a_pickle_in_place_of_an_image_or_a_label(tmp_path, monkeypatch, payload):
    monkeypatch.chdir(tmp_path)
    tar_of(tmp_path / "s" / "0.tar", [("k.png", payload), ("k.cls", b"0"), ("l.png", picture(0)), ("l.cls", payload)])
    with pytest.raises(BadData):
        prepare(Data(source=str(tmp_path / "s"), size=SIZE), tmp_path / "data")
    assert not (tmp_path / "canary").exists()


# S3: names that webdataset would hand to a shell, a URL opener or a brace expansion

NAMES = [
    "pipe:touch canary.tar", "-", "file:x.tar", "http://x/x.tar", "$(touch canary).tar", "x;touch canary.tar",
    "{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}.tar", "../labelled/labelled-000000.tar", "/etc/passwd",
    ".tar", "a/b.tar", "x.tar\n", "x.tar::y.tar", "",
]  # fmt: skip


def test_s3_only_plain_names_are_shards(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = (folder / "manifest.json").read_bytes()
    for name in NAMES:
        (folder / "manifest.json").write_bytes(whole)
        rewritten(folder, lambda page, name=name: page["shards"][0].update(name=name))
        with pytest.raises(BadData, match="is not the plain name of a tar"):
            ShardSet.open(folder)
        assert verify(tmp_path / "data")
    assert not list(tmp_path.rglob("canary*"))


def test_s3_a_source_file_with_such_a_name_is_only_a_file(tmp_path, monkeypatch):
    import webdataset

    monkeypatch.chdir(tmp_path)
    members = [m for i in range(10) for m in ((f"k{i}.png", picture(i)), (f"k{i}.cls", b"%d" % (i % 2)))]
    tar_of(tmp_path / "s" / "pipe:touch canary; cat x.tar", members)
    counts = prepare(Data(source=str(tmp_path / "s"), size=SIZE), tmp_path / "data")
    assert counts["test"] == 2
    assert not (tmp_path / "canary").exists()
    with pytest.raises(Exception, match=r".*"):  # control: the shell runs, whatever then becomes of the tar
        list(webdataset.WebDataset(["pipe:touch canary; cat x.tar"], shardshuffle=False))
    assert (tmp_path / "canary").exists()


def test_s3_too_many_shards_are_refused(folder):
    def change(page):
        page["shards"] = [{}] * 100_001

    rewritten(folder, change)
    with pytest.raises(BadData, match="shards: List should have at most 100000 items"):
        ShardSet.open(folder)


def test_no_part_of_the_data_room_can_unpickle_or_start_a_process():
    import pipeline.data

    names = re.compile(
        r"^\s*(import|from)\s+(pickle|subprocess|marshal|shelve|dill)|shell=True|\.decode\(\"?pil|eval\(", re.M
    )
    for path in Path(pipeline.data.__file__).parent.rglob("*.py"):
        assert not names.search(path.read_text()), path
    assert names.search("import pickle")

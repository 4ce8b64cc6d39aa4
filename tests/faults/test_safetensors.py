"""S4: a tensors file from a stranger. It is refused with BadData, or the hash in model.json catches it."""

import json
import random
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
import torch

from pipeline import params
from pipeline.errors import BadData
from pipeline.files import read_safetensors, sha256, write_safetensors
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from pipeline.nets.model import load_model, save_model

TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "b": torch.arange(4, dtype=torch.int64),
    "c": torch.tensor([True, False]),
    "h": torch.ones(5, dtype=torch.float16),
}


def pack(header: dict | str, data: bytes = b"", length: int | None = None) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(start: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


GOOD = pack({"a": entry(0, 8), "b": entry(8, 16)}, bytes(16))
ATTACKS = {
    "empty file": b"",
    "seven bytes": bytes(7),
    "no header": bytes(8),
    "length 2^63": pack({"a": entry(0, 8)}, bytes(8), 2**63),
    "length 2^64 - 1": pack({"a": entry(0, 8)}, bytes(8), 2**64 - 1),
    "length above the file": pack({"a": entry(0, 8)}, bytes(8), 10_000),
    "length below the header": pack({"a": entry(0, 8)}, bytes(8), 20),
    "overlap": pack({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
    "the same bytes twice": pack({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)),
    "hole": pack({"a": entry(0, 8), "b": entry(12, 20)}, bytes(20)),
    "hole at the start": pack({"a": entry(4, 12)}, bytes(12)),
    "trailing bytes": pack({"a": entry(0, 8)}, bytes(9)),
    "truncated": pack({"a": entry(0, 8)}, bytes(7)),
    "offsets above the file": pack({"a": entry(0, 2**40)}, bytes(8)),
    "offsets backwards": pack({"a": entry(8, 0, [2])}, bytes(8)),
    "offsets below zero": pack({"a": entry(-8, 0, [2])}, bytes(8)),
    "offsets of 2^64": pack({"a": entry(0, 2**64, [2])}, bytes(8)),
    "shape overflows": pack({"a": entry(0, 8, [2**32, 2**32])}, bytes(8)),
    "shape overflows to the right size": pack({"a": entry(0, 8, [2**63, 2, 2])}, bytes(8)),
    "shape below zero": pack({"a": entry(0, 8, [-1, -2])}, bytes(8)),
    "shape of another size": pack({"a": entry(0, 8, [3])}, bytes(8)),
    "dtype unknown": pack({"a": entry(0, 8, dtype="F33")}, bytes(8)),
    "dtype object": pack({"a": entry(0, 8, dtype="O")}, bytes(8)),
    "dtype of another size": pack({"a": entry(0, 8, dtype="F64")}, bytes(8)),
    "no dtype": pack({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "a list": pack("[]"),
    "not JSON": pack("{'a': 1}"),
    "not UTF-8": (4).to_bytes(8, "little") + b'{"\xff"',
    "deep JSON": pack('{"a":' * 100_000 + "1" + "}" * 100_000),
    "deep list": pack('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep metadata": pack({"__metadata__": {"about": "[" * 100_000}}),
    "metadata that is not text": pack({"__metadata__": {"about": 3}}),
    "metadata that is not JSON": pack({"__metadata__": {"about": "{"}}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    encoder = build_encoder(params.Encoder(name="tiny", args={"width": 4}), 3, 8, [0.5] * 3, [0.25] * 3)
    save_model(folder, Branch(encoder, Head([16, 3])), {"kind": "classifier", "classes": ["a", "b", "c"]})
    return folder


def test_the_good_files_load(tmp_path, folder):
    """The control: what follows is refused for its faults."""
    (tmp_path / "good").write_bytes(GOOD)
    tensors, about = read_safetensors(tmp_path / "good")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"a": (2,), "b": (2,)}
    assert about == {}
    write_safetensors(tmp_path / "ours", TENSORS, {"version": 1})
    tensors, about = read_safetensors(tmp_path / "ours")
    assert about == {"version": 1}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert load_model(folder).about["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(tmp_path, attack):
    path = tmp_path / "attack.safetensors"
    path.write_bytes(ATTACKS[attack])
    start = time.process_time()
    with pytest.raises(BadData, match=r"attack\.safetensors") as caught:
        read_safetensors(path)
    assert time.process_time() - start < 1
    assert len(str(caught.value)) < 1000


def test_a_header_of_99_mb_is_not_even_read(tmp_path):
    path = tmp_path / "sparse.safetensors"
    with open(path, "wb") as file:
        file.write((99_000_000).to_bytes(8, "little"))
        file.truncate(99_000_008)
    tracemalloc.start()
    try:
        with pytest.raises(BadData, match="99,000,000 bytes"):
            read_safetensors(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_more_tensors_than_any_network_has(tmp_path):
    path = tmp_path / "many.safetensors"
    path.write_bytes(pack({f"{i}": entry(0, 0, [0]) for i in range(100_001)}))
    with pytest.raises(BadData, match="100,001 tensors"):
        read_safetensors(path)


def test_one_name_twice(tmp_path, folder):
    """The format's reader takes the last of them; the network then lacks the other, whatever model.json vouches for."""
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].decode().rstrip()
    twice = header.replace('"head.0.bias"', '"head.0.weight"')
    assert twice != header
    (tmp_path / "model.safetensors").write_bytes(pack(twice, data[8 + length :]))
    about = json.loads((folder / "model.json").read_text())
    for weights_sha256 in (about["weights_sha256"], sha256(tmp_path / "model.safetensors")):
        (tmp_path / "model.json").write_text(json.dumps(about | {"weights_sha256": weights_sha256}))
        with pytest.raises(BadData):
            load_model(tmp_path)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(BadData):
        read_safetensors(tmp_path)


def overwrite(path: Path, data: bytes) -> None:
    """In place: opening with "w" makes some file systems wait for the disk, thousands of times."""
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


def mutate(data: bytes, draw: random.Random) -> bytes:
    """One to four of: flip a bit, set a byte, cut, insert, drop, repeat, swap a number in the header."""
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4])):
        # half of the blows fall on the header, where the decisions are made
        at = draw.randrange(min(len(data), 400)) if draw.random() < 0.5 else draw.randrange(len(data))
        kind = draw.randrange(7)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.choice(b'\x00\x01\x7f\x80\xff"{}[]:,0129-eE.')
        elif kind == 2:
            del data[at + 1 :]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 4:
            del data[at : at + draw.randrange(1, 9)]
        elif kind == 5:
            data[at:at] = data[at : at + draw.randrange(1, 64)]
        else:
            data[at : at + 1] = str(draw.choice([2**31, 2**32, 2**53, 2**63, 2**64, -1])).encode()
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_mutations_are_refused_or_read(tmp_path, count):
    path = tmp_path / "mutated.safetensors"
    write_safetensors(path, TENSORS, {"version": 1, "names": ["x", "y"]})
    good, draw = path.read_bytes(), random.Random(count)
    refused = accepted = 0
    for _ in range(count):
        data = mutate(good, draw)
        overwrite(path, data)
        try:
            read_safetensors(path)  # anything but BadData is a crash, and fails here
            accepted += 1
        except BadData:
            refused += 1
    assert refused > count / 2
    assert accepted > count / 50  # that is why model.json has a hash


@pytest.mark.parametrize("count", [300, pytest.param(3_000, marks=pytest.mark.slow)])
def test_no_mutation_of_a_model_loads(tmp_path, folder, count):
    draw, good = random.Random(count), (folder / "model.safetensors").read_bytes()
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for _ in range(count):
        data = mutate(good, draw)
        if data != good:
            overwrite(tmp_path / "model.safetensors", data)
            with pytest.raises(BadData):
                load_model(tmp_path)
    overwrite(tmp_path / "model.safetensors", good)
    load_model(tmp_path)


@pytest.mark.parametrize("count", [200, pytest.param(3_000, marks=pytest.mark.slow)])
def test_a_mutation_that_model_json_vouches_for(tmp_path, folder, count):
    """The attacker writes both files: still a network of that shape, or BadData."""
    draw, good = random.Random(count + 1), (folder / "model.safetensors").read_bytes()
    about = json.loads((folder / "model.json").read_text())
    shapes = {name: tensor.shape for name, tensor in load_model(folder).branch.state_dict().items()}
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    loaded = 0
    for _ in range(count):
        overwrite(tmp_path / "model.safetensors", mutate(good, draw))
        about["weights_sha256"] = sha256(tmp_path / "model.safetensors")
        overwrite(tmp_path / "model.json", json.dumps(about).encode())
        try:
            found = load_model(tmp_path).branch.state_dict()
        except BadData:
            continue
        assert {name: tensor.shape for name, tensor in found.items()} == shapes
        loaded += 1
    assert loaded > count / 20  # else the mutations never got past the reader

import hashlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline import files
from pipeline.errors import BadData, WrongVersion
from pipeline.nets.branch import Branch
from pipeline.nets.heads import Head
from pipeline.nets.model import Model, load_model, parameters, save_model

CLASSES = [f"class {i}" for i in range(10)]
ABOUT = {"kind": "classifier", "classes": CLASSES, "mean": [0.5] * 3, "std": [0.25] * 3, "method": "supervised"}


@pytest.fixture
def branch(encoder):
    branch = Branch(encoder(drop=0.1, args={"width": 4}), Head([16, 10]))
    branch(torch.randn(8, 3, 8, 8))  # statistics that are not the initial ones
    return branch.eval()


@pytest.fixture
def folder(branch, tmp_path):
    save_model(tmp_path / "model", branch, ABOUT)
    return tmp_path / "model"


def rewrite(folder, change):
    """Change the tensors, and let model.json vouch for them: only the check of the keys is left."""
    tensors, about = files.read_safetensors(folder / "model.safetensors")
    change(tensors)
    files.write_safetensors(folder / "model.safetensors", tensors, about)
    describe(folder, weights_sha256=files.sha256(folder / "model.safetensors"))


def describe(folder, **changes):
    files.write_json(folder / "model.json", files.read_json(folder / "model.json") | changes)


def test_the_round_trip_is_exact(branch, folder):
    before = torch.get_rng_state()
    model = load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.branch.training
    for name, tensor in branch.state_dict().items():
        found = model.branch.state_dict()[name]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor), name
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(model.branch(x), branch(x))
    assert model.branch.encoder.spec == branch.encoder.spec
    assert {key: model.about[key] for key in ABOUT} == ABOUT
    assert model.about["classes_sha256"] == hashlib.sha256("\n".join(CLASSES).encode()).hexdigest()


def test_an_encoder_with_a_neck_and_no_head(encoder, tmp_path):
    first = encoder().keep(Head([64, 32, 16, 8]), 2)
    save_model(tmp_path, Branch(first, nn.Identity()), {"kind": "encoder", "classes": None})
    again = load_model(tmp_path).branch
    x = torch.randn(4, 3, 8, 8)
    assert again.encoder.dim == 16
    assert torch.equal(again(x), first.eval()(x))


def test_a_head_that_cannot_be_rebuilt_is_not_saved(encoder, tmp_path):
    with pytest.raises(TypeError, match="Linear"):
        save_model(tmp_path, Branch(encoder(), nn.Linear(64, 10)), ABOUT)
    assert not list(tmp_path.iterdir())


def test_saving_twice_gives_the_same_bytes(branch, folder, tmp_path):
    memory_format = torch.channels_last  # says how tensors lie, not what they are
    save_model(tmp_path / "again", branch.to(memory_format=memory_format), ABOUT)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    code = """if True:
        import sys, torch
        from pipeline import params
        from pipeline.nets.branch import Branch
        from pipeline.nets.encoder import build_encoder
        from pipeline.nets.heads import Head
        from pipeline.nets.model import save_model
        torch.manual_seed(0)
        encoder = build_encoder(params.Encoder(name="tiny", args={"width": 4}), 3, 8, [0.5] * 3, [0.25] * 3)
        save_model(sys.argv[1], Branch(encoder, Head([16, 8, 2])), {"kind": "classifier", "classes": ["b", "a"]})
    """
    written = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment)
        written.append([(path.name, path.read_bytes()) for path in sorted(folder.iterdir())])
    assert [name for name, _ in written[0]] == ["model.json", "model.safetensors"]
    assert written[0] == written[1]


def test_a_missing_tensor(folder):
    rewrite(folder, lambda tensors: tensors.pop("head.0.bias"))
    with pytest.raises(BadData, match=r"head\.0\.bias is missing"):
        load_model(folder)


def test_a_renamed_tensor(folder):
    rewrite(folder, lambda tensors: tensors.update({"head.0.offset": tensors.pop("head.0.bias")}))
    with pytest.raises(BadData, match=r"head\.0\.bias is missing; head\.0\.offset is not known"):
        load_model(folder)


@pytest.mark.parametrize("wrong", [torch.zeros(11), torch.zeros(10, 1), torch.zeros(10, dtype=torch.float64)])
def test_a_misshaped_tensor(folder, wrong):
    rewrite(folder, lambda tensors: tensors.update({"head.0.bias": wrong}))
    with pytest.raises(BadData, match=r"head\.0\.bias is .*, the network has \(10,\) float32"):
        load_model(folder)


def test_ten_names_at_most(folder):
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in sorted(tensors)[:15]])
    with pytest.raises(BadData, match="and 5 more") as caught:
        load_model(folder)
    assert str(caught.value).count("is missing") == 10
    assert "\n" not in str(caught.value)


def test_a_flipped_bit(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadData, match="sha256"):
        load_model(folder)


def test_another_version(folder):
    describe(folder, version=2)
    with pytest.raises(WrongVersion, match="version 2"):
        load_model(folder)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "wrn_28_2", "args": {}},
        {"args": {"width": 8}},
        {"channels": 1},
        {"neck": {"dims": [16, 8]}},
        {"args": {"w": 1}},
    ],
)
def test_another_encoder(folder, spec):
    describe(folder, encoder=files.read_json(folder / "model.json")["encoder"] | spec)
    with pytest.raises(BadData, match=r"another network|no network can be built"):
        load_model(folder)


def test_another_class_list(folder):
    describe(folder, classes=CLASSES[::-1])
    with pytest.raises(BadData, match="class list was changed"):
        load_model(folder)


def test_another_number_of_classes(folder):
    classes = CLASSES[:9]
    describe(folder, classes=classes, classes_sha256=hashlib.sha256("\n".join(classes).encode()).hexdigest())
    with pytest.raises(BadData, match="9 classes"):
        load_model(folder)


@pytest.mark.parametrize("missing", ["encoder", "head", "version", "weights_sha256", "classes_sha256"])
def test_a_description_with_a_hole(folder, missing):
    about = files.read_json(folder / "model.json")
    del about[missing]
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(BadData):
        load_model(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": None},
        {"encoder": []},
        {"encoder": {"name": ["tiny"], "args": {}}},
        {"head": 3},
        {"head": {"dims": [], "norm": True}},
        {"head": {"dims": "x"}},
        {"classes": 3},
        {"classes": [1, 2]},
        {"classes": "abc"},
    ],
)
def test_a_description_of_nothing(folder, changes):
    describe(folder, **changes)
    with pytest.raises(BadData):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(BadData, match=f"{name}: no such file"):
        load_model(folder)


def test_pickles_are_never_read(folder, branch, tmp_path):
    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save(Canary(), folder / "model.safetensors")
    describe(folder, weights_sha256=files.sha256(folder / "model.safetensors"))
    with pytest.raises(BadData):
        load_model(folder)
    assert not (tmp_path / "executed").exists()
    torch.load(io.BytesIO((folder / "model.safetensors").read_bytes()), weights_only=False)
    assert (tmp_path / "executed").exists()  # the canary sings where a pickle is read


@pytest.mark.parametrize("what", ["channels", "classes_sha256"])
def test_a_model_fits_the_images_it_was_trained_on(what):
    about = {"stage": "finetune", "size": 8, "channels": 3, "classes_sha256": "ab"}
    model = Model(None, about)
    model.fits(SimpleNamespace(**about))
    with pytest.raises(BadData, match=f"model finetune: {what} "):
        model.fits(SimpleNamespace(**about | {what: 1}))


def test_parameters_are_counted():
    assert parameters(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))) == 3 * 4 + 4 + 2 * 4

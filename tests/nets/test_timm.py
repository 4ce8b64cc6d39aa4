import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from pipeline import files
from pipeline.errors import BadData, ParamsError
from pipeline.export import export
from pipeline.nets.branch import Branch
from pipeline.nets.distilled import by_token, token_heads
from pipeline.nets.heads import Head
from pipeline.nets.model import load_model, save_model

pytestmark = pytest.mark.slow  # timm takes seconds to import
ABOUT = {"kind": "classifier", "classes": ["cat", "dog", "owl"], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


@pytest.fixture
def model(encoder, tmp_path):
    """model(name, args, channels, size) -> a Model that has been through the disk"""

    def build(name, args=None, channels=3, size=32):
        stem = encoder(name, channels, size, args=args or {}, drop=0.1)
        branch = Branch(stem, Head([stem.dim, 3]))
        branch(torch.randn(8, channels, size, size))
        save_model(
            tmp_path / "model", branch, ABOUT | {"mean": ABOUT["mean"][:channels], "std": ABOUT["std"][:channels]}
        )
        return load_model(tmp_path / "model")

    return build


READER = """if True:
    import sys
    import timm, torch
    from safetensors.torch import load_file, save_file
    {register}
    folder = sys.argv[1]
    network = timm.create_model("local-dir:" + folder, pretrained=True).eval()
    x = load_file(folder + "/../x.safetensors")["x"]
    known = timm.data.resolve_data_config(model=network)
    print(network.pretrained_cfg["label_names"], *(list(known[key]) for key in ("input_size", "mean", "std")))
    with torch.no_grad():
        save_file({{"y": network(x)}}, folder + "/../y.safetensors")
"""


@pytest.mark.parametrize(
    ("name", "args", "channels"),
    [
        ("resnet10t", {}, 3),
        ("vit_tiny_patch16_224", {"patch_size": 8, "depth": 2}, 1),
        ("tiny", {"width": 8}, 3),
        ("wrn_28_2", {"depth": 10}, 1),
        ("sk_resnet50", {"layers": [1, 1, 1, 1], "width": 0.25, "small": True}, 3),
        ("deit_tiny_distilled_patch16_224", {"patch_size": 8, "depth": 2}, 3),
    ],
)
def test_plain_timm_gives_the_same_logits(model, tmp_path, name, args, channels):
    ours = model(name, args, channels)
    export(ours, tmp_path / "exported")
    x = torch.randn(4, channels, 32, 32)
    files.write_safetensors(tmp_path / "x.safetensors", {"x": x}, {})

    register = (
        "import pipeline.nets.registry"
        if name in ("tiny", "wrn_28_2", "sk_resnet50")
        else "assert 'pipeline' not in sys.modules"
    )
    code = READER.format(register=register)
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "exported")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    mean, std = (ABOUT[key][:channels] for key in ("mean", "std"))
    assert run.stdout.strip() == f"{ABOUT['classes']} {[channels, 32, 32]} {mean} {std}"
    with torch.no_grad():
        expected = ours.branch(x)
    found, _ = files.read_safetensors(tmp_path / "y.safetensors")
    assert torch.allclose(found["y"], expected, atol=1e-5)
    assert expected.std() > 0.01


def test_an_exported_folder_takes_another_number_of_classes(model, tmp_path):
    import timm

    export(model("tiny"), tmp_path / "exported")
    network = timm.create_model(f"local-dir:{tmp_path / 'exported'}", pretrained=True, num_classes=7)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    saved, _ = files.read_safetensors(tmp_path / "exported" / "model.safetensors")
    assert torch.equal(network.layer2[0].conv1.weight, saved["layer2.0.conv1.weight"])


def test_an_export_is_a_start_for_training(model, encoder, tmp_path):
    ours = model("resnet10t")
    export(ours, tmp_path / "exported")
    again = encoder("resnet10t", size=32, weights=str(tmp_path / "exported" / "model.safetensors")).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), ours.branch.encoder(x))


def test_weights_that_timm_saved(encoder, tmp_path):
    import timm
    from safetensors.torch import save_file

    theirs = timm.create_model("resnet10t", num_classes=1000).eval()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors", {"format": "pt"})
    ours = encoder("resnet10t", size=32, weights=str(tmp_path / "w.safetensors")).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ours(x), theirs.forward_head(theirs.forward_features(x), pre_logits=True), atol=1e-6)
    with pytest.raises(BadData, match=r"conv1\.0\.weight is \(24, 3, 3, 3\) float32, the network has \(24, 1, 3, 3\)"):
        encoder("resnet10t", channels=1, size=32, weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(BadData, match="is missing"):
        encoder("resnet14t", size=32, weights=str(tmp_path / "w.safetensors"))


def test_what_timm_has_no_place_for(model, encoder, tmp_path):
    good = model("tiny")
    neck = Branch(encoder().keep(Head([64, 16, 8]), 1), Head([16, 3]))
    deep = Branch(encoder(), Head([64, 16, 3]))
    bare = Branch(encoder(), nn.Identity())
    for branch in (neck, deep, bare):
        good.branch = branch
        with pytest.raises(BadData, match=r"only an encoder without a neck"):
            export(good, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_a_head_for_each_token_is_one_of_timm_s_two_classifiers(model, tmp_path):
    """As DeiT learns them; one linear layer above both tokens is two as well (above)."""
    import timm

    ours = model("deit_tiny_distilled_patch16_224", {"patch_size": 8, "depth": 2})
    ours.branch.head = token_heads(ours.branch.encoder, 3)
    export(ours, tmp_path / "exported")
    network = timm.create_model(f"local-dir:{tmp_path / 'exported'}", pretrained=True)
    x = torch.randn(4, 3, 32, 32)
    assert torch.allclose(network.eval()(x), ours.branch.eval()(x), atol=1e-5)
    network.set_distilled_training(True)
    for theirs, mine in zip(network.train()(x), by_token(ours.branch, x), strict=True):
        assert torch.allclose(theirs, mine, atol=1e-5)


def test_two_classifiers_are_not_one(model, tmp_path):
    ours = model("levit_128s")
    with pytest.raises(BadData, match="2 classifiers"):
        export(ours, tmp_path / "exported")


def test_a_changed_weight_changes_the_logits(model, tmp_path):
    """The control of the comparison above."""
    import timm

    ours = model("tiny")
    export(ours, tmp_path / "exported")
    tensors, _ = files.read_safetensors(tmp_path / "exported" / "model.safetensors")
    tensors["fc.weight"][0] += 0.1
    shutil.copytree(tmp_path / "exported", tmp_path / "changed")
    files.write_safetensors(tmp_path / "changed" / "model.safetensors", tensors, {})
    x = torch.randn(4, 3, 32, 32)
    same, other = (
        timm.create_model(f"local-dir:{tmp_path / n}", pretrained=True).eval() for n in ("exported", "changed")
    )
    assert torch.allclose(same(x), ours.branch(x), atol=1e-5)
    assert not torch.allclose(other(x)[:, 0], ours.branch(x)[:, 0], atol=1e-3)


@pytest.mark.parametrize("name", ["resnet81", "hf-hub:timm/resnet18", "local-dir:/etc"])
def test_a_name_that_nobody_has(encoder, name):
    with pytest.raises(ParamsError, match="neither we"):
        encoder(name)


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}, "doesn't match"),
        ("resnet10t", {"heads": 3}, "heads"),
        ("resnet10t", {"stem_type": 3}, "cannot see"),
    ],
)
def test_arguments_that_timm_refuses(encoder, name, args, says):
    with pytest.raises(ParamsError, match=says):
        encoder(name, size=32, args=args)


@pytest.mark.parametrize(
    ("name", "size", "dim"), [("vit_small_patch16_224", 32, 384), ("mobilenetv3_small_050", 32, 1024)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_of_timm_networks(encoder, name, size, dim, channels):
    args = {"depth": 2, "patch_size": 4} if name.startswith("vit") else {}
    network = encoder(name, channels, size, args=args, drop_path=0.1)
    assert network.eval()(torch.randn(2, channels, size, size)).shape == (2, network.dim) == (2, dim)

"""Encoders with a network for each group of channels, and encoders without BatchNorm."""

import json

import pytest
import torch
from skimage.color import rgb2lab
from torch import nn

from pipeline import params
from pipeline.errors import BadData, ParamsError
from pipeline.export import export
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder, rebuild
from pipeline.nets.heads import Head
from pipeline.nets.lab import edges
from pipeline.nets.model import load_model, save_model
from pipeline.nets.parts import StochasticDepth
from pipeline.nets.small import NETWORKS
from pipeline.nets.start import start_encoder
from pipeline.views.normalise import Normalise

MEAN, STD = [0.49, 0.48, 0.44], [0.25, 0.24, 0.26]
BATCHNORM = nn.modules.batchnorm._BatchNorm
OPTIONS = [{"sees": ["L", "ab", "edges"]}, {"norm": "layer"}, {"sees": ["ab", "L"], "norm": "layer"}]


def chosen(**fields):
    return params.Encoder(**{"name": "tiny", "args": {"width": 4}} | fields)


def made(channels=3, size=8, **fields):
    return build_encoder(chosen(**fields), channels, size, MEAN[:channels], STD[:channels])


def test_each_network_sees_its_group_of_the_image_before_normalisation():
    network = made(sees=["L", "ab", "edges"])
    pixels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    seen = network.net.groups(Normalise(MEAN, STD)(pixels))
    expected = torch.from_numpy(rgb2lab((pixels / 255).permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(seen["L"], expected[:, :1] / 50 - 1, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen["edges"], edges(seen["L"]))
    a, b = seen["ab"].unbind(1)
    torch.testing.assert_close(a * (98.233 + 86.183) / 2 + (98.233 - 86.183) / 2, expected[:, 1], atol=1e-3, rtol=0)
    torch.testing.assert_close(b * (94.478 + 107.857) / 2 + (94.478 - 107.857) / 2, expected[:, 2], atol=1e-3, rtol=0)


def test_grey_images_have_the_lightness_of_their_rgb():
    level = torch.rand(2, 1, 8, 8)
    grey, colour = made(1, sees=["L", "edges"]).net, made(3, sees=["L", "edges"]).net
    same = Normalise(MEAN, STD)(level.expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey.groups(Normalise(MEAN[:1], STD[:1])(level))["L"], colour.groups(same)["L"])


def test_bf16_reaches_the_networks_and_not_the_colours():
    network, x = made(sees=["L", "ab"]).eval(), torch.randn(2, 3, 8, 8)
    exact = network.net.groups(x)
    with torch.autocast("cpu", torch.bfloat16):
        seen, features = network.net.groups(x), network(x)
    assert all(torch.equal(seen[group], exact[group]) for group in seen)
    assert not torch.equal(features.float(), network(x))


def test_features_stand_side_by_side_in_the_order_that_was_asked_for():
    network, x = made(sees=["ab", "L"]).eval(), torch.randn(2, 3, 8, 8)
    groups = network.net.groups(x)
    assert network.dim == 32
    torch.testing.assert_close(network(x)[:, :16], network.net.nets["ab"](groups["ab"]))
    torch.testing.assert_close(network(x)[:, 16:], network.net.nets["L"](groups["L"]))


@pytest.mark.parametrize(
    ("channels", "sees", "says"), [(1, ["L", "ab"], "grey images have no 'ab'"), (3, ["L", "L"], "twice")]
)
def test_groups_that_are_not_there(channels, sees, says):
    with pytest.raises(ParamsError, match=says):
        made(channels, sees=sees)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_encoder_goes_on(options, tmp_path):
    """Saved, loaded, and started from: the same features, and another encoder is refused."""
    folder, x = tmp_path / "cmc", torch.randn(3, 3, 8, 8)
    first = made(**options, drop=0.1)
    first(x)  # statistics that are not the initial ones
    save_model(folder, Branch(first, nn.Identity()), {"kind": "encoder"})
    expected = first.eval()(x)
    assert torch.equal(load_model(folder).branch.encoder(x), expected)
    assert torch.equal(start_encoder(chosen(**options), 3, 8, MEAN, STD, folder).eval()(x), expected)
    for other in ({}, {"sees": ["L", "ab"]}):
        with pytest.raises(ParamsError, match=r"its encoder has (sees|norm)"):
            start_encoder(chosen(**other), 3, 8, MEAN, STD, folder)


def test_scratch_gives_way_to_any_encoder(tmp_path):
    folder = tmp_path / "scratch"
    save_model(folder, Branch(made(), nn.Identity()), {"kind": "encoder"})
    started = start_encoder(chosen(sees=["L", "ab"]), 3, 8, MEAN, STD, folder)
    assert started.spec["sees"] == ["L", "ab"]
    torch.testing.assert_close(started.net.mean.flatten(), torch.tensor(MEAN))


def test_images_that_are_normalised_otherwise_keep_their_colours(tmp_path):
    save_model(tmp_path, Branch(made(sees=["L", "ab"]), nn.Identity()), {"kind": "encoder"})
    before = load_model(tmp_path).branch.encoder
    after = start_encoder(chosen(sees=["L", "ab"]), 3, 8, [0.5] * 3, [0.2] * 3, tmp_path).eval()
    pixels = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(
        after(Normalise([0.5] * 3, [0.2] * 3)(pixels)), before(Normalise(MEAN, STD)(pixels)), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_spec_is_json_and_enough(options):
    first, x = made(**options), torch.randn(3, 3, 8, 8)
    again = rebuild(json.loads(json.dumps(first.spec)))
    again.load_state_dict(first.state_dict())
    assert torch.equal(again.eval()(x), first.eval()(x))


def test_the_networks_of_all_groups_grow_from_depth_0():
    plain, network = made(), made(sees=["L", "ab"])
    assert network.depths == plain.depths
    for group in ("L", "ab"):
        for name, _ in plain.named_parameters():
            inner = name.removeprefix("net.")
            assert network.depth_of(f"net.nets.{group}.{inner}") == plain.depth_of(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_layer_norm_leaves_no_batch_norm_and_no_sample_sees_another(name):
    network = made(name=name, args={"depth": 10} if name == "wrn_28_2" else {}, norm="layer")
    assert any(isinstance(module, BATCHNORM) for module in made(name=name, args={}).modules())
    assert not any(isinstance(module, BATCHNORM) for module in network.modules())
    x = torch.randn(4, 3, 8, 8)
    together, alone = network.train()(x), network(x[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)
    names = [parameter for parameter, _ in network.named_parameters()]
    assert {network.depth_of(parameter) for parameter in names} == set(range(network.depths))


def test_layer_norm_keeps_branches_that_start_at_zero():
    network = made(name="resnet18_small", args={}, norm="layer").net
    assert network.layer1[0].bn2.weight.eq(0).all() and network.layer1[0].bn1.weight.eq(1).all()
    assert isinstance(network.layer1[0].drop_path, StochasticDepth)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet10t", "efficientnet_b0"])
def test_layer_norm_in_networks_of_timm(name):
    """efficientnet has the activation inside its BatchNorm: it must stay."""
    network = made(size=32, name=name, args={}, norm="layer")
    assert not any(isinstance(module, BATCHNORM) for module in network.modules())
    plain = made(size=32, name=name, args={})
    count = [sum(isinstance(m, nn.SiLU | nn.ReLU) for m in each.modules()) for each in (network, plain)]
    assert count[0] == count[1] > 0
    assert network.depths == plain.depths


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_timm_has_no_place_for_such_an_encoder(options, tmp_path):
    encoder = made(**options)
    save_model(
        tmp_path / "model", Branch(encoder, Head([encoder.dim, 2])), {"kind": "classifier", "classes": ["a", "b"]}
    )
    with pytest.raises(BadData, match="timm builds no encoder with `sees`"):
        export(load_model(tmp_path / "model"), tmp_path / "exported")
    assert not (tmp_path / "exported").exists()

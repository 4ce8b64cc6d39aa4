import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from pipeline.errors import BadData, ParamsError
from pipeline.files import write_safetensors
from pipeline.nets.encoder import rebuild
from pipeline.nets.heads import Head
from pipeline.nets.parts import StochasticDepth
from pipeline.nets.small import NETWORKS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize(("name", "dim"), [*zip(NETWORKS, (64, 512, 512, 128), strict=True)])
def test_features_are_pooled(encoder, name, dim, size, channels):
    network = encoder(name, channels, size).eval()
    assert network.dim == dim
    x = torch.randn(3, channels, size, size)
    with torch.no_grad():
        features = network(x)
        alone = network(x[1:2])
    assert features.shape == (3, dim)
    assert torch.allclose(features[1:2], alone, atol=1e-5)
    assert not torch.allclose(features[0], features[1], atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_gives_the_same_features(encoder, name):
    network, x = encoder(name, size=8).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = network(x)
        found = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "wrn_28_2"])
def test_bf16_autocast_is_close_to_fp32(encoder, name):
    network, x = encoder(name, size=8, drop_path=0.2).eval(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        expected = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(x)
    error = (found.float() - expected).norm() / expected.norm()
    assert 1e-5 < error < 0.1  # the lower bound: bf16 was really used


@pytest.mark.slow
@pytest.mark.parametrize(("name", "args"), [("tiny", {}), ("wrn_28_2", {"depth": 10})])
def test_compiles_without_a_graph_break(encoder, name, args):
    network, x = encoder(name, size=8, args=args, drop=0.1, drop_path=0.2), torch.randn(4, 3, 8, 8)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    compiled(x).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert torch.allclose(torch.compile(network.eval(), backend="aot_eager", fullgraph=True)(x), network(x), atol=1e-5)


def test_every_parameter_is_used_under_ddp(encoder, tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        network = nn.parallel.DistributedDataParallel(encoder(drop_path=0.5))
        for _ in range(2):  # the second forward raises where the first left a parameter without gradient
            network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_weights_come_from_the_global_generator(encoder):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in encoder().parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("name", "args", "dim", "norm"),
    [("tiny", {"width": 8}, 32, True), ("wrn_28_2", {"depth": 10, "width": 8}, 512, False)],
)
def test_spec_is_json_and_enough_to_rebuild(encoder, name, args, dim, norm):
    first = encoder(name, channels=1, args=args, drop=0.3, drop_path=0.2).keep(Head([dim, 20, 10, 5], norm), 2)
    again = rebuild(json.loads(json.dumps(first.spec)))
    again.load_state_dict(first.state_dict())
    x = torch.randn(4, 1, 8, 8)
    assert again.dim == first.dim == 10
    assert torch.equal(again.eval()(x), first.eval()(x))
    torch.manual_seed(3)
    expected = first.train()(x)
    torch.manual_seed(3)
    assert torch.equal(again.train()(x), expected)  # the same noise as well


def test_kept_layers_are_those_of_the_head(encoder):
    plain, head, x = encoder().eval(), Head([64, 20, 5]).eval(), torch.randn(4, 3, 8, 8)
    expected = head[2](head[1](head[0](plain(x))))
    assert torch.equal(plain.keep(head, 1)(x), expected)


@pytest.mark.parametrize(("head", "layers"), [(Head([64, 10]), 1), (Head([64, 20, 10]), 2), (nn.Identity(), 1)])
def test_more_layers_than_the_head_has(encoder, head, layers):
    with pytest.raises(ParamsError, match="cannot keep"):
        encoder().keep(head, layers)


def test_frozen_stays_frozen_inside_a_parent(encoder):
    network = encoder().freeze()
    parent = nn.Sequential(network, nn.Linear(64, 2)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    parent(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert parent[1].weight.grad is not None
    assert encoder().train().training  # another one is not frozen


def test_dropout_before_the_head(encoder):
    network = encoder("wrn_28_2", args={"depth": 10}, drop=0.25)  # a leaky relu: no zeros of its own
    x = torch.randn(200, 3, 8, 8)
    assert 0.24 < (network(x) == 0).float().mean() < 0.26
    assert torch.equal(network.eval()(x), network(x))


def test_stochastic_depth_is_what_was_asked_for(encoder):
    rates = [module.p for module in encoder(drop_path=0.3).modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0, 0.15, 0.3])


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("wrn_28_2", {"depth": 27}, "6 n"),
        ("tiny", {"widht": 8}, "widht"),
        ("tiny", {"num_classes": 10}, "num_classes"),
        ("resnet10t", {"checkpoint_path": "evil.pth"}, "checkpoint_path"),
        ("resnet10t", {"pretrained": True}, "pretrained"),
    ],
)
def test_arguments_that_make_no_network(encoder, name, args, says):
    with pytest.raises(ParamsError, match=says):
        encoder(name, args=args)


def test_weights_of_another_network_are_named(encoder, tmp_path):
    colour = encoder(channels=3)
    write_safetensors(tmp_path / "w.safetensors", colour.net.state_dict(), {})
    with pytest.raises(BadData, match=r"conv1.weight is \(16, 3, 3, 3\) float32, the network has \(16, 1, 3, 3\)"):
        encoder(channels=1, weights=str(tmp_path / "w.safetensors"))
    again = encoder(channels=3, weights=str(tmp_path / "w.safetensors"))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again.eval()(x), colour.eval()(x))


@pytest.mark.slow
def test_our_networks_need_neither_timm_nor_torchvision():
    code = (
        "import sys; from pipeline import params; from pipeline.nets.encoder import build_encoder;"
        "from pipeline.nets.small import NETWORKS;"
        "[build_encoder(params.Encoder(name=n), 3, 8, [0.5] * 3, [0.25] * 3).depths for n in NETWORKS];"
        "print({'timm', 'torchvision', 'sklearn'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"

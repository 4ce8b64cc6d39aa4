import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, leaky_relu

from pipeline.nets.model import parameters
from pipeline.nets.parts import Pointwise, StochasticDepth, linear_depth
from pipeline.nets.small import BasicBlock, resnet18_small, resnet34_small, tiny
from pipeline.nets.wide import WideResNet


def test_stochastic_depth_keeps_the_expectation_and_skips_whole_samples():
    x = torch.rand(20_000, 2, 3, 3) + 1
    y = StochasticDepth(0.3).train()(x)
    ratio = (y / x).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio))
    assert ratio.round(decimals=4).unique().tolist() == pytest.approx([0, 1 / 0.7], abs=1e-4)
    assert (y.mean() / x.mean()).item() == pytest.approx(1, abs=0.015)  # 3 sigma = 3 * sqrt(.3 / .7 / 20,000) = .014


def test_stochastic_depth_does_nothing_in_evaluation():
    x = torch.rand(50, 2, 3, 3)
    assert torch.equal(StochasticDepth(0.9).eval()(x), x)


def test_stochastic_depth_is_linear_over_the_blocks():
    assert linear_depth(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    rates = [m.p for m in resnet18_small(drop_path_rate=0.7).modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.1 * i for i in range(8)])
    rates = [m.p for m in WideResNet(drop_path_rate=0.11).modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.01 * i for i in range(12)])


def test_a_skipped_block_is_its_shortcut():
    block, x = BasicBlock(4, 4, 1, 0.5).train(), torch.rand(64, 4, 5, 5)
    alike = (block(x) == x).flatten(1).all(1)
    assert 10 < alike.sum() < 54


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pixels_are_picked_before_the_convolution_or_in_it(stride):
    layer, x = Pointwise(5, 7, stride).double(), torch.rand(4, 5, 9, 8, dtype=torch.float64)
    assert layer.weight.shape == (7, 5, 1, 1) and layer.bias is None
    assert torch.allclose(layer(x), conv2d(x, layer.weight, stride=stride), atol=1e-12, rtol=0)


TRAINED = """
import torch
from pipeline.nets.small import tiny
network = tiny(width=3, stem_stride=1).to(memory_format=torch.channels_last)
for size in range(100):
    network(torch.rand(32, 3, 8, 8).to(memory_format=torch.channels_last)).square().mean().backward()
    torch.empty(size)
"""


def test_a_narrow_network_overruns_no_buffer_without_avx512():
    """oneDNN keeps to AVX2 where it is told to. In a process of its own: a corrupted heap ends it."""
    limit = {"ONEDNN_MAX_CPU_ISA": "AVX2", "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", TRAINED], env=os.environ | limit, capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}"


def wide_parameters(depth: int, width: int, channels: int, classes: int) -> int:
    """Counted from the definition: convolutions of k * k * in * out, norms of 2 * channels, one dense layer."""
    total, inside = channels * 16 * 9, 16
    for outside in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * inside + 9 * inside * outside + 2 * outside + 9 * outside * outside
            total += inside * outside if inside != outside else 0
            inside = outside
    return total + 2 * inside + (inside + 1) * classes


@pytest.mark.parametrize(("depth", "width", "channels"), [(28, 2, 3), (28, 8, 3), (10, 1, 1)])
def test_wide_resnet_has_as_many_parameters_as_its_definition(depth, width, channels):
    with torch.device("meta"):
        network = WideResNet(depth, width, 10, channels)
    assert parameters(network) == wide_parameters(depth, width, channels, 10)


def test_wrn_28_2_has_the_number_that_is_known():
    assert parameters(WideResNet(num_classes=10)) == wide_parameters(28, 2, 3, 10) == 1_467_610


def test_wide_resnet_computes_the_reference_function():
    """The forward of MixMatch's WRN, written out with tensors by name."""
    network = WideResNet(16, 2, 10).train()
    w, x = network.state_dict(), torch.randn(6, 3, 8, 8)

    def activated(x, name):
        return leaky_relu(batch_norm(x, None, None, w[f"{name}.weight"], w[f"{name}.bias"], True, eps=1e-3), 0.1)

    y = conv2d(x, w["conv1.weight"], padding=1)
    for scale in range(3):
        for block in range(2):
            name = f"layer{scale + 1}.{block}"
            stride = 2 if scale > 0 and block == 0 else 1
            z = activated(y, f"{name}.bn1")
            shortcut = z if scale == 0 and block == 0 else y
            if block == 0:
                shortcut = conv2d(shortcut, w[f"{name}.shortcut.weight"], stride=stride)
            z = activated(conv2d(z, w[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn2")
            y = shortcut + conv2d(z, w[f"{name}.conv2.weight"], padding=1)
    y = activated(y, "bn").mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]
    assert torch.allclose(network(x), y, atol=1e-4)


def test_wide_resnet_norms_and_initial_weights():
    network = WideResNet()
    assert {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 1e-3)}
    weight = network.layer3[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_tiny_is_small_and_all_of_it_learns_at_once():
    network = tiny(num_classes=10)
    assert 50_000 < parameters(network) < 100_000
    network(torch.randn(8, 3, 32, 32)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("small", "name"), [(resnet18_small, "resnet18"), (resnet34_small, "resnet34")])
def test_small_resnets_are_timms_but_for_the_stem(small, name):
    import timm

    ours, theirs = small(num_classes=10), timm.create_model(name, num_classes=10)
    shapes = [{key: tuple(value.shape) for key, value in n.state_dict().items()} for n in (ours, theirs)]
    assert shapes[0].pop("conv1.weight") == (64, 3, 3, 3)
    assert shapes[1].pop("conv1.weight") == (64, 3, 7, 7)
    assert shapes[0] == shapes[1]

    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):  # the branches start at zero: wake them
            nn.init.uniform_(module.weight)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-5)


def test_all_norms_of_a_wide_network_have_the_momentum_that_is_asked_for():
    for network, momentum in ((WideResNet(10, 1), 0.001), (WideResNet(10, 1, bn_momentum=0.02), 0.02)):
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert {(norm.momentum, norm.eps) for norm in norms} == {(momentum, 1e-3)} and len(norms) == 7

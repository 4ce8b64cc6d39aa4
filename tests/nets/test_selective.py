"""SK-ResNets: the sizes of the paper, the attention, and all that holds for any encoder."""

import json

import pytest
import torch
from torch import nn

from pipeline.errors import ParamsError
from pipeline.nets.encoder import rebuild
from pipeline.nets.model import parameters

pytestmark = pytest.mark.slow  # timm takes seconds to import
SMALL = {"layers": [1, 1, 1, 1], "width": 0.25}


@pytest.mark.parametrize(
    ("name", "width", "millions"),
    [
        ("sk_resnet50", 1, 35),
        ("sk_resnet50", 2, 140),
        ("sk_resnet101", 1, 65),
        ("sk_resnet101", 2, 257),
        ("sk_resnet152", 1, 89),
        ("sk_resnet152", 3, 795),
    ],
)
def test_parameters_are_those_of_the_papers_table(name, width, millions):
    """arXiv:2006.10029, table 1, without the classifier."""
    from pipeline.nets.selective import LAYERS, SKResNet

    with torch.device("meta"):
        network = SKResNet(LAYERS[name], width, num_classes=0)
    assert round(parameters(network) / 1e6) == millions


@pytest.mark.parametrize(("width", "millions"), [(1, 24), (2, 94)])
def test_a_plain_resnet_of_any_width_is_timms_own(width, millions):
    """The same table without selective kernels: `{name: resnet50, args: {channels: [128, 256, 512, 1024]}}`."""
    import timm

    with torch.device("meta"):
        network = timm.create_model("resnet50", num_classes=0, channels=[width * 64 << stage for stage in range(4)])
    assert round(parameters(network) / 1e6) == millions


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8)])
def test_features_are_pooled_and_the_spec_is_enough(encoder, channels, size, small):
    first = encoder("sk_resnet50", channels, size, args=SMALL | {"small": small}, drop_path=0.2)
    assert first.dim == 512
    x = torch.randn(4, channels, size, size)
    first(x)
    again = rebuild(json.loads(json.dumps(first.spec)))
    again.load_state_dict(first.state_dict())
    assert torch.equal(again.eval()(x), first.eval()(x)) and first(x).std() > 0.01


def test_the_small_stem_keeps_the_pixels(encoder):
    sizes = []
    for small in (False, True):
        network = encoder("sk_resnet50", size=32, args=SMALL | {"small": small}).net
        network.layer1.register_forward_hook(lambda _, images, __: sizes.append(images[0].shape[2:]))
        network(torch.randn(2, 3, 32, 32))
    assert sizes == [(8, 8), (32, 32)]


def test_a_path_gets_the_share_that_the_attention_gives_it(encoder):
    """y = sum_p s_p * path_p(x), s = softmax over the two paths of what global pooling of their sum says."""
    kernel = encoder("sk_resnet50", size=8, args=SMALL).net.layer1[0].conv2.eval()
    x = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        paths = torch.stack([path(x) for path in kernel.paths])
        attention = kernel.attn
        squeezed = attention.bn(attention.fc_reduce(paths.sum(0).mean((2, 3), keepdim=True))).relu()
        shares = attention.fc_select(squeezed).view(2, 2, -1, 1, 1).softmax(1)
        torch.testing.assert_close(kernel(x), shares[:, 0] * paths[0] + shares[:, 1] * paths[1])
    assert squeezed.shape[1] == 32 and paths.shape[2] == 16
    assert [path.conv.dilation for path in kernel.paths] == [(1, 1), (1, 1)]


def test_all_of_it_learns_once_its_branches_have_woken(encoder):
    """The last norm of each branch starts at zero, as in the paper's code."""
    network = encoder("sk_resnet50", size=16, args=SMALL).train()
    for block in (network.net.layer1[0], network.net.layer4[0]):
        assert not block.conv3.bn.weight.any()
        assert isinstance(block.downsample[0], nn.AvgPool2d | nn.Identity), "ResNet-D"
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
    network(torch.randn(8, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())
    names = [name for name, _ in network.named_parameters()]
    assert {network.depth_of(name) for name in names} == set(range(network.depths)) == set(range(5))


def test_arguments_that_make_no_network(encoder):
    with pytest.raises(ParamsError, match="widht"):
        encoder("sk_resnet50", args={"widht": 2})

import subprocess
import sys

import pytest
import torch

from pipeline.nets.evaluating import evaluating

NETWORKS = [
    ("tiny", {}),
    ("wrn_28_2", {"depth": 10}),
    pytest.param("efficientnet_b0", {}, marks=pytest.mark.slow),
    pytest.param("vit_tiny_patch16_224", {"patch_size": 8, "depth": 3}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name, args", NETWORKS)
@pytest.mark.parametrize("rates", [{}, {"drop": 0.5}, {"drop_path": 0.5}], ids=str)
def test_the_noise_of_a_network_stays_on_where_it_is_asked_for(encoder, name, args, rates):
    """Of many copies of one image: with noise no two are the same, unless the network has none."""
    network, x = encoder(name, size=32, args=args, **rates), torch.randn(1, 3, 32, 32).expand(32, -1, -1, -1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    for noise in (False, True):
        with evaluating(network, noise), torch.no_grad():
            seen = network(x)
        spread = (seen.std(0).max() / seen.abs().max()).item()
        assert spread > 0.01 if noise and rates else spread < 1e-4
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_nothing_of_timm_is_imported():
    code = "import sys, pipeline.nets.evaluating; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

import pytest
import torch

from pipeline import params
from pipeline.nets.encoder import build_encoder


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def encoder():
    """build(name, channels=3, size=8, **fields of params.Encoder) -> Encoder"""

    def build(name="tiny", channels=3, size=8, **fields):
        normal = [0.45] * channels, [0.25] * channels
        return build_encoder(params.Encoder(name=name, **fields), channels, size, *normal)

    return build

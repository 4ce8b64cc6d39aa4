"""What decays, and how fast each layer learns."""

import pytest
import torch

from pipeline import params
from pipeline.engine.optimiser import build
from pipeline.errors import ParamsError
from pipeline.methods.semi.supervised import Supervised


def by_name(method, optimiser) -> dict[str, dict]:
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    return {names[id(p)]: group for group in optimiser.param_groups for p in group["params"]}


@pytest.fixture
def method(encoder):
    return Supervised(encoder, classes=3)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_biases_and_norms_do_not_decay(method, name, kind):
    optimiser = build(method, params.Optimiser(name=name, lr=0.1, weight_decay=0.01))
    groups = by_name(method, optimiser)
    assert isinstance(optimiser, kind)
    assert groups.keys() == {name for name, p in method.named_parameters() if p.requires_grad}
    assert not any(name.startswith("target") for name in groups)
    for name, parameter in method.named_parameters():
        if name in groups:
            assert groups[name]["weight_decay"] == (0.01 if name.endswith("weight") and parameter.ndim > 1 else 0.0)
    assert {g["weight_decay"] for g in groups.values()} == {0.0, 0.01}
    assert {g["lr"] for g in groups.values()} == {0.1} == {g["initial_lr"] for g in groups.values()}


def test_sgd_is_nesterov_only_with_momentum(method):
    assert build(method, params.Optimiser(momentum=0.9)).param_groups[0]["nesterov"]
    assert not build(method, params.Optimiser(momentum=0.0)).param_groups[0]["nesterov"]


def test_lower_layers_learn_more_slowly(method):
    groups = by_name(method, build(method, params.Optimiser(lr=1.0, layer_decay=0.5)))
    depths = method.online.encoder.depths
    rates = [groups[f"online.encoder.net.{name}"]["initial_lr"] for name in ("conv1.weight", "layer3.0.conv1.weight")]
    assert rates == [0.5**depths, 0.5]
    assert {group["lr"] for name, group in groups.items() if "head" in name} == {1.0}


def test_frozen_weights_are_left_out(encoder):
    method = Supervised(encoder.freeze(), classes=3)
    assert all(name.startswith("online.head") for name in by_name(method, build(method, params.Optimiser())))


@pytest.mark.slow
def test_timm_builds_the_others_and_refuses_what_it_does_not_know(method):
    optimiser = build(method, params.Optimiser(name="lars", lr=0.3, weight_decay=0.01))
    assert type(optimiser).__name__ == "Lars"
    assert {group["weight_decay"] for group in optimiser.param_groups} == {0.0, 0.01}
    with pytest.raises(ParamsError, match=r"optimiser\.name 'sgdd'"):
        build(method, params.Optimiser(name="sgdd"))

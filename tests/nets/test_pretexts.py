"""Tasks that share a trunk."""

import pytest
import torch

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder
from pipeline.nets.pretexts import TASKS, make_tasks


def encoder(channels=3, sees=("L",), size=16):
    chosen = params.Encoder(args={"width": 2}, sees=list(sees))
    return build_encoder(chosen, channels, size, [0.5] * channels, [0.25] * channels)


def test_tasks_are_made_in_the_order_that_was_asked_for():
    assert list(make_tasks("colorization+rotation", encoder(), 8)) == ["colorization", "rotation"]
    assert list(make_tasks("rotation+relative_position", encoder(1, ()), 8)) == ["rotation", "relative_position"]


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_of_an_image_is_its_own(name):
    """Without BatchNorm, which knows the others; what one image costs does not depend on them."""
    trunk = encoder().eval()
    task, x, luck = make_tasks(name, trunk, 8)[name].eval(), torch.randn(5, 3, 16, 16), torch.rand(5, 5)
    losses = task(trunk, x, luck)
    assert losses.shape == (5,) and losses.isfinite().all()
    torch.testing.assert_close(torch.cat([task(trunk, x[i : i + 1], luck[i : i + 1]) for i in range(5)]), losses)


@pytest.mark.parametrize("asked", ["rotation+jigsaw", "rotation+", "", "rotation+rotation", "rotation, colorization"])
def test_tasks_that_are_none(asked):
    with pytest.raises(ParamsError, match="join some of rotation, relative_position, colorization by \\+, each once"):
        make_tasks(asked, encoder(), 8)


@pytest.mark.parametrize(
    ("channels", "sees", "asked", "says"),
    [
        (1, (), "rotation+colorization", r"multitask: grey images .* set data\.channels to 3"),
        (3, (), "rotation+colorization", r"multitask: .* set encoder\.sees to \[L\]"),
        (3, (), "rotation+relative_position", r"multitask: .* set encoder\.sees to \[L\]"),
        (3, ("L", "ab"), "rotation", r"multitask: .* set encoder\.sees to \[L\]"),
    ],
)
def test_encoders_that_see_too_much_or_images_that_have_too_little(channels, sees, asked, says):
    with pytest.raises(ParamsError, match=says):
        make_tasks(asked, encoder(channels, sees), 8)

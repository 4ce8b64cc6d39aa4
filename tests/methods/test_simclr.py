"""SimCLR: the loss of two views, its projection head, and how strongly colours are distorted."""

from math import log

import pytest
import torch

from pipeline import catalogue
from pipeline.views.recipes import SIMCLR, SIMCLR_LARGE
from pipeline.views.view import View
from tests.contract import small_task as task
from tests.test_losses import oracle_nt_xent

ENTRY = catalogue.find("simclr", "pretext")


def test_the_loss_is_nt_xent_of_the_projections_of_two_views():
    method = task.method(ENTRY, dim=6, tau=0.2)
    a, b = torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = oracle_nt_xent(method.online(a).numpy(), method.online(b).numpy(), 0.2)
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("hidden, width", [(0, 16), (7, 7)])
def test_the_head_has_one_hidden_layer(hidden, width):
    assert task.method(ENTRY, hidden=hidden, dim=6).online.head.dims == [16, width, 6]


def test_one_point_for_all_images_costs_chance():
    method, views = task.method(ENTRY), torch.randn(2, 5, 1, 8, 8)
    with torch.no_grad():
        method.online.head[-1].weight.zero_()
    assert method(a=views[0], b=views[1]).item() == pytest.approx(log(9)) == pytest.approx(method.chance)


@pytest.mark.parametrize("recipe, strength", [(SIMCLR, 0.5), (SIMCLR_LARGE, 1.0)])
def test_the_recipes_are_the_papers_of_weak_and_of_full_strength(recipe, strength):
    """arXiv:2002.05709, appendix A: factors within .8 s of 1, hue within .2 s, done to .8 of the views; grey .2."""
    view = View(recipe, 32, [0.5] * 3, [0.2] * 3)
    draws = view.draw(20_000, (3, 32, 32), torch.Generator().manual_seed(0)).steps
    steps = dict(zip([step.name for step in view.recipe.steps], draws, strict=True))
    amounts = steps["jitter"]["amounts"]
    reach = torch.tensor([0.8, 0.8, 0.8, 0.2]) * strength
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
    torch.testing.assert_close(amounts.amin(0), centre - reach, atol=0.001, rtol=0)
    torch.testing.assert_close(amounts.amax(0), centre + reach, atol=0.001, rtol=0)
    share = {name: steps[name]["chosen"].float().mean().item() for name in ("jitter", "grey")}
    assert share == pytest.approx({"jitter": 0.8, "grey": 0.2}, abs=0.02)
    assert ("blur" in steps) == (strength == 1)  # the paper's CIFAR-10 goes without


def test_full_strength_changes_colours_more_than_weak_strength():
    one_colour = torch.tensor([200, 128, 128], dtype=torch.uint8)[:, None, None].expand(2000, 3, 4, 4)
    change = {}
    for recipe in (SIMCLR, SIMCLR_LARGE):
        view = View(recipe, 4, [0.0] * 3, [1.0] * 3)
        made = view(one_colour, view.draw(2000, (3, 4, 4), torch.Generator().manual_seed(0)))
        change[recipe] = (made - one_colour / 255).abs().mean()
    assert change[SIMCLR_LARGE] > 1.5 * change[SIMCLR] > 0.1

import pytest
import torch

from pipeline import seed
from pipeline.errors import ParamsError
from pipeline.views import recipes
from pipeline.views.view import View

PRESETS = {name: text for name, text in vars(recipes).items() if name.isupper()}
ALL = [
    *PRESETS.values(),
    "affine(30, .1, .8, 1.2, 10)|flip",
    "flip|crop(.1, .4)|solarize(.5)|shift",
    "blur(.5)|cutout(.2)",
]


def plain_view(recipe, channels, size=32):
    """Mean 0 and std 1: the output stays in [0, 1]."""
    return View(recipe, size, [0.0] * channels, [1.0] * channels)


def draws_of(view, images, n=None, of=1):
    return view.draw(n or len(images), tuple(images.shape[1:]), seed.generator(of, "view"))


@pytest.mark.parametrize("recipe", ALL)
def test_output_is_float_normalised_of_the_right_shape_and_the_images_are_untouched(images, recipe):
    channels = images.shape[1]
    mean, std = [0.4, 0.5, 0.6][:channels], [0.2, 0.25, 0.3][:channels]
    before = images.clone()
    raw = plain_view(recipe, channels)(images, draws_of(plain_view(recipe, channels), images))
    view = View(recipe, 32, mean, std)
    output = view(images, draws_of(view, images))
    assert torch.equal(images, before)
    side = 16 if "size=.5" in recipe else 32
    assert output.dtype == torch.float32 and output.shape == (24, channels, side, side)
    assert raw.min() >= -1e-6 and raw.max() <= 1 + 1e-6 and raw.std() > 0.05
    for c in range(channels):
        torch.testing.assert_close(output[:, c], (raw[:, c] - mean[c]) / std[c], atol=1e-5, rtol=0)


@pytest.mark.parametrize("recipe", ALL)
def test_the_seed_decides_the_pixels(images, recipe):
    view = plain_view(recipe, images.shape[1])
    one, again, other = (view(images, draws_of(view, images, of=of)) for of in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (recipe == "plain")


@pytest.mark.parametrize("recipe", ALL)
def test_a_slice_of_the_global_draws_is_a_slice_of_the_global_view(images, recipe):
    """What a rank makes of its rows does not depend on the others: to 1/4000 of a level of 8 bits."""
    view = plain_view(recipe, images.shape[1])
    draws = draws_of(view, images)
    whole = view(images, draws)
    for rows in (slice(0, 9), slice(9, 10), slice(10, 24)):
        assert len(draws[rows]) == len(range(24)[rows])
        torch.testing.assert_close(view(images[rows], draws[rows]), whole[rows], atol=1e-6, rtol=0)


@pytest.mark.parametrize("recipe", [text for text in ALL if text != "plain"])
def test_samples_get_parameters_of_their_own(images, recipe):
    copies = images[5:6].repeat(64, 1, 1, 1)
    view = plain_view(recipe, images.shape[1])
    output = view(copies, draws_of(view, copies)).flatten(1)
    distinct = len({tuple(row.tolist()) for row in (output * 255).round()})
    assert distinct >= 16  # a crop of one size has few places in 24 pixels


def test_sizes(images):
    channels = images.shape[1]
    for recipe, size, side in [
        ("plain", 24, 24),
        ("flip|cutout(.5)", 48, 48),
        ("crop(.2)", 24, 24),
        ("crop(.05, .25, size=16)|flip|jitter(.4)|blur(1)", 32, 16),
        ("crop(.5, size=40)|crop(.5)|shift", 20, 20),
    ]:
        view = plain_view(recipe, channels, size)
        assert view(images, draws_of(view, images)).shape == (24, channels, side, side), recipe


def test_other_sizes_are_resized_as_torchvision_does(images):
    from torchvision.transforms.v2 import functional as F

    view = plain_view("plain", images.shape[1], 20)
    reference = F.resize(images.float() / 255, [20, 20], antialias=True)
    torch.testing.assert_close(view(images, draws_of(view, images)), reference, atol=1e-5, rtol=0)


def test_draws_see_the_size_after_the_crop():
    view = plain_view("crop(.5, size=8)|shift(.25)", 3)
    down = view.draw(500, (3, 64, 64), seed.generator(0)).steps[1]["down"]
    assert down.min() == -2 and down.max() == 2


def test_autocast_does_not_coarsen_a_view(images):
    view = plain_view("crop(.2)|blur(1)", images.shape[1])
    draws = draws_of(view, images)
    with torch.autocast("cpu", torch.bfloat16):
        inside = view(images, draws)
    assert inside.dtype == torch.float32 and torch.equal(inside, view(images, draws))


def test_a_bad_recipe_is_refused():
    with pytest.raises(ParamsError, match="column 1"):
        plain_view("flop", 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recipe", ALL)
def test_the_device_does_not_change_a_view(images, recipe):
    view = plain_view(recipe, images.shape[1])
    draws = draws_of(view, images)
    here, there = view(images, draws), view(images.cuda(), draws).cpu()
    # a nearest pixel or a threshold may fall to the other side by the last bit
    assert ((here - there).abs() > 1e-4).float().mean() < 0.002

"""The 14 ops against torchvision's, at 11 magnitudes of both signs. Tolerances in levels of 8 bits."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from pipeline.views.ops import Op
from pipeline.views.ops.randaugment import OPS

EXACT = 0.01  # levels: the same float formula, in another order


def factor(adjust):
    return lambda image, level, sign: adjust(image, 1 + sign * 0.9 * level)


def moved(image, angle=0.0, x=0.0, y=0.0, shear=(0.0, 0.0), center=None):
    return F.affine(image, angle, [int(x), int(y)], 1.0, [math.degrees(math.atan(s)) for s in shear], center=center)


# (image, level in 0..1, sign) -> image
ORACLE = {
    "identity": lambda image, level, sign: image,
    "autocontrast": lambda image, level, sign: F.autocontrast(image),
    "equalize": lambda image, level, sign: F.equalize(image),
    "rotate": lambda image, level, sign: F.rotate(image, sign * 30 * level),
    "solarize": lambda image, level, sign: F.solarize(image, 1 - level),
    "color": factor(F.adjust_saturation),
    "posterize": lambda image, level, sign: F.posterize((image * 255).round().byte(), round(8 - 4 * level)) / 255,
    "contrast": factor(F.adjust_contrast),
    "brightness": factor(F.adjust_brightness),
    "sharpness": factor(F.adjust_sharpness),
    "shear_x": lambda image, level, sign: moved(image, shear=(sign * 0.3 * level, 0), center=[0, 0]),
    "shear_y": lambda image, level, sign: moved(image, shear=(0, sign * 0.3 * level), center=[0, 0]),
    "translate_x": lambda image, level, sign: moved(image, x=sign * 150 / 331 * image.shape[2] * level),
    "translate_y": lambda image, level, sign: moved(image, y=sign * 150 / 331 * image.shape[1] * level),
}


def test_the_ops_are_the_papers():
    assert list(OPS) == list(ORACLE)


@pytest.mark.parametrize("name", ORACLE)
def test_op(images, name):
    level = (torch.arange(len(images)) % 11) / 10
    sign = 1 - 2 * (torch.arange(len(images)) // 11 % 2).float()
    floats = images.float() / 255
    ours = OPS[name](floats.clone(), level, sign)
    assert name == "identity" or not torch.equal(ours, floats) or (name == "color" and images.shape[1] == 1)
    wrong = 0.0
    for i, image in enumerate(floats):
        reference = ORACLE[name](image, level[i].item(), sign[i].item())
        wrong += ((ours[i] - reference).abs() * 255 > EXACT).float().mean().item() / len(floats)
    # the nearest pixel of a point half-way between two depends on the last bit
    assert wrong <= (0.002 if name in ("rotate", "shear_x", "shear_y") else 0)


def draw(samples, **arguments):
    return Op.named["randaugment"](**arguments).draw(samples, 32, 32, torch.Generator().manual_seed(0))


def test_choices_signs_and_chances():
    drawn = draw(14_000, n=2, m=9, p=0.5)
    counts = drawn["which"].flatten().bincount(minlength=14)
    assert counts.min() > 2000 - 5 * 43 and counts.max() < 2000 + 5 * 43  # five sigmas
    assert abs(drawn["chosen"].float().mean() - 0.5) < 0.015
    assert abs(drawn["sign"].mean()) < 0.03 and set(drawn["sign"].flatten().tolist()) == {-1, 1}
    assert drawn["level"].unique().tolist() == pytest.approx([0.9])
    assert (drawn["which"][:, 0] != drawn["which"][:, 1]).any()


def test_random_magnitudes():
    assert draw(1000, n=1, m=9, m_min=1)["level"].unique().tolist() == pytest.approx([k / 10 for k in range(1, 10)])


def test_each_sample_gets_its_own_ops(images):
    op = Op.named["randaugment"](n=2, m=7)
    drawn = op.draw(len(images), 32, 40, torch.Generator().manual_seed(1))
    floats = images.float() / 255
    ours = op.apply(floats.clone(), **drawn)
    for i, image in enumerate(floats):
        one = image.unsqueeze(0).clone()
        for turn in range(2):
            operation = list(OPS.values())[drawn["which"][i, turn]]
            one = operation(one, drawn["level"][i : i + 1, turn], drawn["sign"][i : i + 1, turn])
        assert (ours[i] - one[0]).abs().max() * 255 <= EXACT
    none = Op.named["randaugment"](n=2, m=7, p=0.0)
    drawn = none.draw(len(images), 32, 40, torch.Generator().manual_seed(1))
    assert torch.equal(none.apply(floats.clone(), **drawn), floats)

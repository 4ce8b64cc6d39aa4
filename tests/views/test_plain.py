"""Images for a network that is used."""

import torch

from pipeline.views.normalise import Normalise
from pipeline.views.plain import Plain
from pipeline.views.view import View

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def test_at_the_stored_size_it_only_normalises():
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(Plain(8, MEAN, STD)(images), Normalise(MEAN, STD)(images))


def test_at_another_size_it_is_the_view_that_changes_nothing():
    """What is monitored and evaluated is what a network without augmentation would learn from."""
    images = torch.randint(0, 256, (5, 3, 12, 12), dtype=torch.uint8)
    for size in (6, 20):
        view = View("plain", size, MEAN, STD)
        expected = view(images, view.draw(5, (3, 12, 12), torch.Generator()))
        found = Plain.of({"size": size, "mean": MEAN, "std": STD})(images)
        assert found.shape == (5, 3, size, size)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(Plain(size, MEAN, STD)(images.float() / 255), expected)

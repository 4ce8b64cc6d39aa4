"""Maps of the features: every image a dot at its place, in the colour of its class."""

import itertools
import re

import numpy as np
import pytest

from pipeline import report
from pipeline.report import maps as drawer
from pipeline.report import page as pages
from tests.report.fake_run import write_csv


def maps(root):
    """{title: (figure, dots by the number of their colour)}, and the words of the section."""
    section = re.search(r'<section id="maps">.*?</section>', (root / "report.html").read_text(), re.DOTALL)[0]
    found = {}
    for title, figure in re.findall(
        r"<figure><figcaption><b>(.*?)</b></figcaption>(<svg.*?</svg>)", section, re.DOTALL
    ):
        paths = re.findall(r'<path d="(.*?)" class="(.*?)" style="stroke:var\(--class-(\d+)\)"', figure)
        dots = [(int(c), tuple(map(float, d.split()))) for path, _, c in paths for d in re.findall(r"M(.*?)h0", path)]
        found[title] = figure, dots
    return found, section


def test_each_image_is_a_dot_in_the_colour_of_its_class(make):
    """Of a map of 320 x 160, in the middle of a square with a border of 6."""
    root, params = make()
    rows = [(0, 0, "0"), (1, 0.5, "3"), (0.25, 0.125, "3")]
    write_csv(
        root / "scores" / "simclr" / "embedding.csv", [dict(zip(("x", "y", "class"), r, strict=True)) for r in rows]
    )
    report.build(root, params)
    found, section = maps(root)
    assert list(found) == ["random weights", "simclr", "Student 2"]
    assert found["simclr"][1] == [(1, (6, 86)), (4, (326, 246)), (4, (86, 126))]
    assert len(found["Student 2"][1]) == 300 and {colour for colour, _ in found["Student 2"][1]} == set(range(1, 11))
    assert 'class="dots"' in found["Student 2"][0]
    assert section.count('class="dot"') == 10 and "share ten colours" not in section and "drawn by lot" not in section


def test_more_classes_than_colours_share_them_and_it_says_so(make):
    root, params = make(classes=[f"class {number}" for number in range(30)])
    rows = [{"x": 0.5, "y": 0.1, "class": name} for name in ("class 2", "class 12", "class 29")]
    write_csv(root / "scores" / "student-2" / "embedding.csv", rows)
    report.build(root, params)
    found, section = maps(root)
    assert [colour for colour, _ in found["Student 2"][1]] == [3, 3, 10]
    assert 'class="dot"' not in section and "The 30 classes share ten colours" in section


def test_of_many_images_it_says_how_many_are_drawn_and_the_dots_are_small(make):
    root, params = make()
    metrics = root / "scores" / "student-2" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"n": 300', '"n": 10000'))
    rows = [{"x": n / 2000, "y": 0.5, "class": str(n % 10)} for n in range(2000)]
    write_csv(root / "scores" / "student-2" / "embedding.csv", rows)
    report.build(root, params)
    found, section = maps(root)
    assert "2,000 of 10,000 images, drawn by lot" in section
    assert 'class="dots small"' in found["Student 2"][0] and 'class="dots small"' not in found["simclr"][0]
    assert len(found["Student 2"][0]) < 30_000


def test_of_many_maps_each_has_fewer_dots(make, monkeypatch):
    root, params = make()
    monkeypatch.setattr(drawer, "TOGETHER", 899)
    report.build(root, params)
    found, section = maps(root)
    assert [len(dots) for _, dots in found.values()] == [150, 150, 150]
    assert "150 of 300 images, drawn by lot" in section


def test_the_ten_colours_can_be_told_apart_by_day_and_by_night():
    """CIEDE2000 of each two is above 18 (1 can just be seen), the contrast to the panel at least 3 (WCAG 1.4.11)."""
    colour = pytest.importorskip("skimage.color")
    text = (pages.Path(pages.__file__).parent / "style.css.j2").read_text()
    for scheme in text.split("@media (prefers-color-scheme: dark)")[:2]:
        named = dict(re.findall(r"--(class-\d+|panel): #(\w{6});", scheme))
        panel, *rgb = (np.array([int(hexed[i : i + 2], 16) / 255 for i in (0, 2, 4)]) for hexed in named.values())
        assert len(rgb) == 10
        lab = colour.rgb2lab(np.array(rgb))
        assert min(colour.deltaE_ciede2000(a, b) for a, b in itertools.combinations(lab, 2)) > 18
        light = [
            np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722] for c in rgb
        ]
        ground = np.where(panel <= 0.04045, panel / 12.92, ((panel + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        assert all((max(y, ground) + 0.05) / (min(y, ground) + 0.05) >= 3 for y in light)

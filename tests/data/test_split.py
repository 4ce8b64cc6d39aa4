from collections import Counter
from itertools import pairwise

import pytest

from pipeline.data.sources.source import UNKNOWN, Item, Source
from pipeline.data.split import OUT, draw
from pipeline.errors import BadData
from pipeline.params import Data

CLASSES = ["ant", "bee", "cat", "dog"]


def item(key: str, label: int, split: str | None = None) -> Item:
    return Item(key, key, split, label, bytes)


def source(each: int = 100, **more: int) -> Source:
    items = [item(f"{name}/{i}", k) for k, name in enumerate(CLASSES) for i in range(each)]
    items += [
        item(f"{split}/{i}", UNKNOWN if split == "unlabelled" else i % 4, split)
        for split in more
        for i in range(more[split])
    ]
    return Source(CLASSES, items)


def keys(places, split):
    return {place.item.key for place in places if split in place.splits}


def per_class(places, split):
    return Counter(place.label for place in places if split in place.splits)


def test_counts_are_exact_in_each_class():
    _, places = draw(source(), Data(labels_per_class=7, validation=0.1, test=0.25))
    assert per_class(places, "test") == dict.fromkeys(range(4), 25)
    assert per_class(places, "val") == dict.fromkeys(range(4), 10)
    assert per_class(places, "labelled") == dict.fromkeys(range(4), 7)
    assert per_class(places, "unlabelled") == dict.fromkeys(range(4), 65)


def test_no_image_is_in_two_splits_but_the_labelled_are_unlabelled_too():
    _, places = draw(source(), Data(labels_per_class=7))
    labelled, unlabelled, val, test = (keys(places, s) for s in ("labelled", "unlabelled", "val", "test"))
    assert labelled < unlabelled
    assert not unlabelled & val
    assert not unlabelled & test
    assert not val & test
    assert len(unlabelled | val | test) == len(places) == 400


def test_the_order_of_the_items_changes_nothing():
    one = source()
    assert draw(one, Data()) == draw(Source(CLASSES, one.items[::-1]), Data())


def test_another_seed_draws_other_images():
    for split in ("labelled", "val", "test"):
        a, b = (keys(draw(source(), Data(labels_per_class=10, seed=s))[1], split) for s in (0, 1))
        assert a != b
        assert len(a) == len(b)


def test_more_labels_keep_the_fewer():
    few, many = (keys(draw(source(), Data(labels_per_class=n))[1], "labelled") for n in (5, 20))
    assert few < many


def test_the_labelled_share():
    assert per_class(draw(source(), Data(label_fraction=0.5))[1], "labelled") == dict.fromkeys(range(4), 35)
    assert per_class(draw(source(), Data(label_fraction=0.001))[1], "labelled") == dict.fromkeys(range(4), 1)
    assert per_class(draw(source(), Data())[1], "labelled") == dict.fromkeys(range(4), 70)


def test_too_few_images_name_the_class():
    short = Source(CLASSES, source(20).items[:-15])
    with pytest.raises(BadData, match="class 'dog': 5 labelled images wanted"):
        draw(short, Data(labels_per_class=5))


def test_splits_that_the_source_gives_are_kept():
    _, places = draw(source(test=40, val=8, unlabelled=50), Data())
    assert keys(places, "test") == {f"test/{i}" for i in range(40)}
    assert keys(places, "val") == {f"val/{i}" for i in range(8)}
    assert {f"unlabelled/{i}" for i in range(50)} < keys(places, "unlabelled")
    assert {place.label for place in places if place.item.key.startswith("unlabelled/")} == {None}
    assert len(keys(places, "labelled")) == 400


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_share_inside_the_classes_at_constant_size(share):
    _, places = draw(source(), Data(classes=["dog", "ant"], labels_per_class=5, in_class=share))
    hidden = [place.label for place in places if place.splits == ("unlabelled",)]
    assert len(hidden) == 130  # of 140 training images inside, 10 are labelled
    assert abs(sum(label >= 0 for label in hidden) - share * 130) <= 0.5
    assert keys(places, "labelled") < keys(places, "unlabelled")


def test_the_share_is_kept_where_too_few_are_outside():
    _, places = draw(source(), Data(classes=["ant", "bee", "cat"], labels_per_class=5, in_class=0.25))
    hidden = [place.label for place in places if place.splits == ("unlabelled",)]
    assert Counter(label == OUT for label in hidden) == {True: 100, False: 33}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_outside_images_are_only_ever_unlabelled(share):
    _, places = draw(source(test=40, val=8), Data(classes=["dog", "ant"], labels_per_class=5, in_class=share))
    outside = [place for place in places if place.item.key.startswith(("bee/", "cat/"))]
    assert bool(outside) == (share < 1)
    assert {place.splits for place in outside} <= {("unlabelled",)}
    assert {place.label for place in places if {"val", "test", "labelled"} & set(place.splits)} == {0, 1}
    assert keys(places, "test") == {f"test/{i}" for i in range(40) if i % 4 in (0, 3)}


def test_declared_classes_keep_their_order():
    classes, places = draw(source(), Data(classes=["dog", "ant"]))
    assert classes == ["dog", "ant"]
    assert {place.label for place in places if place.item.key.startswith("dog/")} == {0}


def test_a_share_without_outside_images_is_refused():
    with pytest.raises(BadData, match=r"data\.in_class"):
        draw(source(), Data(in_class=0.5, labels_per_class=5))
    with pytest.raises(BadData, match="every image of the classes is labelled"):
        draw(source(), Data(in_class=0.5, classes=["ant", "bee"]))


def test_unknown_and_repeated_classes_are_refused():
    with pytest.raises(BadData, match="no class 'cow'"):
        draw(source(), Data(classes=["ant", "cow"]))
    with pytest.raises(BadData, match="twice"):
        draw(source(), Data(classes=["ant", "ant"]))


@pytest.fixture
def given(tmp_path):
    """given(lines, **data) -> the Data whose labelled images are those of the lines key,label."""

    def make(*lines: str, head: str = "key,label", **data) -> Data:
        path = tmp_path / "given.csv"
        path.write_text("\n".join((head, *lines)) + "\n")
        return Data(labels=str(path), **data)

    return make


def drawn(split, data=None):
    """Keys that the draw keeps for a split, or trains with."""
    places = draw(source(), data or Data())[1]
    return sorted(place.item.key for place in places if split in place.splits)


def test_exactly_the_images_that_a_person_labelled_are_labelled(given):
    """As the person says, whatever the source says; nothing else moves, and each other image loses its label."""
    trained = [next(key for key in drawn("labelled") if key.startswith(name)) for name in CLASSES]
    lines = [f"{key},{name}" for key, name in zip(trained, ["bee", "bee", "cat", "dog"], strict=True)]
    data = given(*lines, "unlabelled/3,ant,")
    classes, places = draw(source(unlabelled=5), data)
    found = {place.item.key: classes[place.label] for place in places if "labelled" in place.splits}
    assert found == dict(zip([*trained, "unlabelled/3"], ["bee", "bee", "cat", "dog", "ant"], strict=True))
    assert all(place.splits == ("labelled", "unlabelled") for place in places if place.item.key in found)
    assert len({place.item.key for place in places}) == len(places) == 405
    for split in ("val", "test"):
        assert keys(places, split) == set(drawn(split)), "it takes the place of no other draw"
    assert len(keys(places, "unlabelled")) == 285


def test_a_label_for_a_part_of_the_classes(given):
    """With images out of class, of which a person may know better."""
    data = given("ant/0,dog", "bee/0,ant", "dog/0,dog", classes=["dog", "ant"], in_class=0.5, test=0.01, validation=0)
    kept = drawn("test", data)
    assert not {"ant/0", "bee/0", "dog/0"} & set(kept)
    _, places = draw(source(), data)
    assert {p.item.key: p.label for p in places if "labelled" in p.splits} == {"ant/0": 0, "dog/0": 0, "bee/0": 1}
    hidden = [place.label for place in places if place.splits == ("unlabelled",)]
    assert (len(hidden), hidden.count(OUT)) == (196, 98)


@pytest.mark.parametrize(
    "lines, says",
    [
        (
            ["ant/0,ant", "ant/7.png,ant"],
            r"given\.csv: line 3: no image has the key 'ant/7\.png'; keys are paths without",
        ),
        (["ant/0,ant", "ant/0,bee"], r"line 3: ant/0 is there twice"),
        (["ant/0,", "bee/0,bee"], r"line 2: ant/0 has no label; fill it in"),
        (["ant/0,aunt"], r"line 2: 'aunt' is no class; choose from ant, bee, cat, dog"),
        (["ant/0,ant", "bee/0,cat", "dog/0,dog"], r"no image of the class 'bee'; label one of each class"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(given, lines, says):
    with pytest.raises(BadData, match=says):
        draw(source(), given(*lines))


def test_a_label_of_an_image_that_is_kept_for_measuring_is_refused(given):
    trained = [next(key for key in drawn("labelled") if key.startswith(name)) for name in CLASSES]
    for split in ("val", "test"):
        lines = [f"{key},{key[:3]}" for key in (*trained, drawn(split)[0])]
        with pytest.raises(BadData, match=f"{drawn(split)[0]} is kept for validation or test"):
            draw(source(), given(*lines))
    lines = [f"{key},{key[:3]}" for key in trained]
    with pytest.raises(BadData, match="test/0 is kept"):
        draw(source(test=8), given(*lines, "test/0,ant"))


def test_a_file_of_labels_without_its_columns_is_refused(given, tmp_path):
    with pytest.raises(BadData, match=r"line 1: no column key; write key,label"):
        draw(source(), given("ant/0,ant", head="path,label"))
    with pytest.raises(BadData, match=r"data\.labels: .*none\.csv"):
        draw(source(), Data(labels=str(tmp_path / "none.csv")))


def test_images_lie_shuffled():
    _, places = draw(source(), Data())
    labels = [place.label for place in places]
    assert sum(a == b for a, b in pairwise(labels)) < 150  # sorted by class it would be 396

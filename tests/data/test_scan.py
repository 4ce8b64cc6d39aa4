import os

import pytest

from pipeline.data.scan import scan
from pipeline.errors import BadData
from pipeline.params import Data


def test_names_sizes_and_times(class_folders):
    found = scan(Data(source=str(class_folders)))
    assert found["kind"] == "folders"
    assert len(found["files"]) == 60
    status = (class_folders / "bee" / "07.png").stat()
    assert found["files"]["bee/07.png"] == [status.st_size, status.st_mtime_ns]


@pytest.mark.parametrize("change", ["content", "new", "removed", "renamed"])
def test_every_change_is_seen(class_folders, change):
    before = scan(Data(source=str(class_folders)))
    path = class_folders / "bee" / "07.png"
    if change == "content":
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(0, 1))
    elif change == "new":
        (class_folders / "bee" / "x.png").write_bytes(b"")
    elif change == "removed":
        path.unlink()
    else:
        path.rename(path.with_name("y.png"))
    assert scan(Data(source=str(class_folders))) != before


def test_hidden_files_and_a_second_look_change_nothing(class_folders):
    before = scan(Data(source=str(class_folders)))
    (class_folders / ".DS_Store").write_bytes(b"x")
    assert scan(Data(source=str(class_folders))) == before


def test_a_table_elsewhere_is_part_of_it(class_folders, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nant/00.png,x\n")
    data = Data(source=str(class_folders), csv=str(table))
    before = scan(data)
    table.write_text("path,label\nant/00.png,yy\n")
    assert scan(data) != before


def test_the_labels_that_a_person_gave_are_part_of_it(tmp_path):
    """By their content, so that a change of one letter is seen whatever the time says; and of a built-in set, too."""
    table = tmp_path / "given.csv"
    table.write_text("key,label\ndigit-0000,0\n")
    data, time = Data(source="digits", labels=str(table)), table.stat().st_mtime_ns
    before = scan(data)
    table.write_text("key,label\ndigit-0000,1\n")
    os.utime(table, ns=(time, time))
    assert scan(data) != before
    table.unlink()
    with pytest.raises(BadData, match=r"data\.labels: .*given\.csv: No such file"):
        scan(data)


def test_built_in_sets_are_only_named():
    assert scan(Data(source="CIFAR10")) == {"source": "CIFAR10", "kind": "torchvision"}
    with pytest.raises(BadData, match="no folder"):
        scan(Data(source="nowhere"))

import io
import tarfile

import pytest

from pipeline.data import tars
from pipeline.errors import BadData


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_same_members_as_tarfile(tmp_path, style):
    path = tmp_path / "a.tar"
    long = "f/" * 60 + "n" * 80 if style == tarfile.USTAR_FORMAT else "f/" * 100 + "é" * 150
    with tarfile.open(path, "w", format=style, pax_headers={"comment": "x"}) as tar:
        for i, name in enumerate(("a", "d/b.png", long, "z")):
            about = tarfile.TarInfo(name)
            about.size, about.mtime = 700 * i, 0.5 if style == tarfile.PAX_FORMAT else 0
            tar.addfile(about, io.BytesIO(bytes(700 * i)))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    with tarfile.open(path) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar if m.isfile()]
    assert [tuple(member) for member in tars.members(path)] == expected
    assert len(expected) == 4


def test_a_tar_of_nothing(tmp_path):
    path = tmp_path / "a.tar"
    tarfile.open(path, "w").close()
    assert list(tars.members(path)) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        about = tarfile.TarInfo("1.png")
        about.type, about.linkname = kind, "/etc/passwd"
        tar.addfile(about)
    with pytest.raises(BadData, match=r"'1\.png' at byte 0 is a link or a device"):
        list(tars.members(tmp_path / "a.tar"))


def test_a_second_archive_behind_the_first_is_refused(tmp_path, make_tar):
    one, two = (make_tar(tmp_path / name, [("1.png", b"x")]).read_bytes() for name in ("a.tar", "b.tar"))
    (tmp_path / "c.tar").write_bytes(one + two)
    with pytest.raises(BadData, match="cut or continued"):
        list(tars.members(tmp_path / "c.tar"))


def test_a_gigabyte_of_name_is_not_read(tmp_path, make_tar):
    path = make_tar(tmp_path / "a.tar", [("n" * 200, b"x")])
    data = bytearray(path.read_bytes())
    data[124:136] = b"%011o\0" % (1 << 30)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    with pytest.raises(BadData, match="65,536 are allowed"):
        list(tars.members(path))

"""A strict walk over the headers of a plain tar, in constant memory.

`tarfile` ends quietly at a damaged or cut header and keeps every member it has seen; a lost sample must be an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pipeline.errors import BadData

BLOCK = 512
NAME_LIMIT = 1 << 16  # bytes of a long-name record: a longer one is an attack, not a name
ZEROS = bytes(BLOCK)


class Member(NamedTuple):
    name: str
    offset: int  # of the content
    size: int


def members(path: Path) -> Iterator[Member]:
    """The regular files in the tar, in order. Raises BadData that names the tar and the byte where it goes wrong.

    Folders are passed over. A link, a device, a compressed or cut tar, a wrong header checksum are errors.
    """
    with open(path, "rb") as file:
        end, offset = os.fstat(file.fileno()).st_size, 0
        long_name, long_size = "", None
        while (header := _read(file, path, offset, BLOCK, end)) != ZEROS:
            kind, size = _kind_and_size(path, offset, header)
            content = offset + BLOCK
            if kind in b"xgLK":  # a record that describes the member which follows, or (g, K) nothing of ours
                if kind in b"xL":
                    record = _read(file, path, content, _short(path, offset, size), end)
                    long_name, long_size = _described(path, offset, kind, record)
                offset = content + _padded(size)
                continue
            name, size = long_name or _name(header), size if long_size is None else long_size
            long_name, long_size = "", None
            if kind not in b"0\x005":
                raise BadData(f"{path}: {name[:80]!r} at byte {offset:,} is a link or a device; only files are read")
            if content + size > end:
                raise BadData(f"{path}: cut: {name[:80]!r} needs {content + size:,} bytes, the file has {end:,}")
            if kind != ord("5"):
                yield Member(name, content, size)
            offset = content + _padded(size)
        file.seek(offset)
        if end - offset < 2 * BLOCK or any(block.strip(b"\0") for block in iter(lambda: file.read(1 << 16), b"")):
            raise BadData(f"{path}: cut or continued: no end mark at byte {offset:,} of {end:,}; make it again")


def _read(file: BinaryIO, path: Path, offset: int, size: int, end: int) -> bytes:
    if offset + size > end:
        raise BadData(f"{path}: cut: bytes {offset:,} to {offset + size:,} of a tar of {end:,}; make it again")
    file.seek(offset)
    return file.read(size)


def _kind_and_size(path: Path, offset: int, header: bytes) -> tuple[int, int]:
    try:
        stated, size = int(_text(header[148:156]).strip() or "x", 8), int(_text(header[124:136]).strip() or "0", 8)
    except ValueError:
        stated, size = -1, 0
    if stated != sum(header) - sum(header[148:156]) + 8 * ord(" ") or size < 0:
        raise BadData(f"{path}: not a plain tar, or damaged: no tar header at byte {offset:,}; make it again")
    return header[156], size


def _name(header: bytes) -> str:
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{_text(header[:100])}" if prefix else _text(header[:100])


def _short(path: Path, offset: int, size: int) -> int:
    if size > NAME_LIMIT:
        raise BadData(f"{path}: the name at byte {offset:,} has {size:,} bytes; {NAME_LIMIT:,} are allowed")
    return size


def _described(path: Path, offset: int, kind: int, record: bytes) -> tuple[str, int | None]:
    """The long name and size that a GNU `L` or a PAX `x` record gives to the next member ("", None: neither)."""
    if kind == ord("L"):
        return _text(record), None
    name, size = "", None
    try:
        while record:
            length = int(record[: record.index(b" ")])
            word, _, value = record[record.index(b" ") + 1 : length - 1].partition(b"=")
            name = _text(value) if word == b"path" else name
            size = int(value) if word == b"size" else size
            if length <= 0 or (size or 0) < 0:
                raise ValueError
            record = record[length:]
    except ValueError:
        raise BadData(f"{path}: the PAX record at byte {offset:,} is malformed; make it again") from None
    return name, size


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

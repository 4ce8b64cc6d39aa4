"""Files that are whole or absent: written beside their name, synced, renamed."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadData, CannotWrite

if TYPE_CHECKING:
    from torch import Tensor

HEADER_LIMIT, TENSOR_LIMIT = 8 << 20, 100_000


def sha256(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dumps(value: Any) -> str:
    """The one JSON text of a value: sorted keys, so that equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_json(path: Path | str) -> Any:
    """Raises BadData where the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise BadData(f"{path}: no such file; run the stage that makes it, or `dvc repro`") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"{path}: not JSON ({error}); make it again") from None


def write_json(path: Path | str, value: Any) -> None:
    write_bytes(path, dumps(value).encode())


def write_csv(path: Path | str, rows: list[dict[str, Any]]) -> None:
    """Columns in the order in which they first occur; a value that a row does not have is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write the whole file or leave the old one. Raises CannotWrite with the bytes that were needed."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CannotWrite(f"{path}: cannot write {len(data):,} bytes: {error.strerror}") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what processes that are dead left half-written in `folder`."""
    for orphan in folder.glob(f".{name}.tmp-*"):
        pid = orphan.name.rpartition("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(orphan) if orphan.is_dir() else orphan.unlink(missing_ok=True)


@contextlib.contextmanager
def publish(path: Path | str) -> Iterator[Path]:
    """A folder to fill, which appears under `path` by one rename, and only if nothing was raised."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for folder in (temporary, *(p for p in temporary.rglob("*") if p.is_dir())):
            for file in folder.iterdir():
                if file.is_file():
                    sync_folder(file)  # fsync takes any open handle, a file's as well
            sync_folder(folder)
        old = path.with_name(f".{path.name}.tmp-old-{os.getpid()}")
        if path.exists():
            os.rename(path, old)  # removing it takes many steps, and half of it must not stand under its name
        os.rename(temporary, path)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        held = sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file())
        shutil.rmtree(temporary, ignore_errors=True)
        why = f"cannot write more than {held:,} bytes: {error.strerror or error}"
        raise CannotWrite(f"{path}: {why}; free some space or choose another folder") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_safetensors(path: Path | str, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Tensors and what they are. One metadata key only: with two or more the bytes differ from run to run."""
    from safetensors.torch import save

    data = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"about": dumps(about)})
    write_bytes(path, data)


def read_safetensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and what they are. Raises BadData on a file that is missing, malformed, or has an outsized header."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > HEADER_LIMIT:
            raise BadData(f"{path}: the header claims {header:,} bytes; {HEADER_LIMIT:,} are allowed")
        with safe_open(path, "pt") as opened:
            names = list(opened.keys())
            if len(names) > TENSOR_LIMIT:
                raise BadData(f"{path}: {len(names):,} tensors; {TENSOR_LIMIT:,} are allowed")
            about = json.loads((opened.metadata() or {}).get("about", "{}"))
            return {name: opened.get_tensor(name) for name in names}, about
    except FileNotFoundError:
        raise BadData(f"{path}: no such file; run the stage that makes it, or `dvc repro`") from None
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise BadData(f"{path}: not a safetensors file of ours ({error})") from None

"""Files that are either whole or absent: atomic writers, and JSON lines that survive being killed in the middle of one."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import DataError, ResourceError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Tell any OSError of the body as a ResourceError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"disk full while writing {path}; free some space, then `toolkit resume` goes on from the last checkpoint"
            ) from error
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Replace `path` in one step: after a crash it holds the old bytes or the new ones, never a part.

    Raises: ResourceError if the disk is full or does not let itself be written; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text_atomic(path: Path, text: str) -> None:
    """`write_bytes_atomic` of UTF-8. Bytes of a file name that are no UTF-8 are written as their escapes."""
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def write_json_atomic(path: Path, value: Any) -> None:
    """`write_text_atomic` of indented JSON; floats keep every digit.

    Raises: ValueError for NaN and infinity, naming where they stand: a score that cannot be computed is `undefined`.
    """
    write_text_atomic(path, _json(path, value, indent=2) + "\n")


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line and wait until it is on the disk. A half line that a killed process left behind is cut off first."""
    line = _json(path, row).encode("utf-8", "backslashreplace") + b"\n"
    with disk_errors(path), path.open("a+b") as file:
        whole = _length_of_whole_lines(file.seek(0, os.SEEK_END), path)
        file.truncate(whole)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def rewrite_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace all rows in one step; rows that were read and not changed come out byte for byte the same."""
    write_text_atomic(path, "".join(_json(path, row) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All rows; none if there is no file. A last line without its end is ignored, as the process was killed writing it.

    Raises: DataError naming the line that is no JSON object.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}; delete the line or the file") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}; delete the line or the file")
        rows.append(row)
    return rows


def _json(path: Path, value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)
    except ValueError as error:
        if not (places := list(_not_finite(value, ""))):
            raise
        raise ValueError(f"{path.name} cannot hold NaN or infinity: {', '.join(places)}") from error


def _not_finite(value: Any, place: str) -> Iterator[str]:
    """Where the numbers stand that JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place.lstrip('.')} = {value}"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{place}[{index}]")


def _length_of_whole_lines(size: int, path: Path) -> int:
    """Bytes up to and with the last line end."""
    if size == 0:
        return 0
    with path.open("rb") as file:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1


def _sync_folder(folder: Path) -> None:
    """Make a rename in it durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where data sets lie on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import DataError


def data_path(root: str | Path) -> Path:
    """`root` below the data folder: $TOOLKIT_DATA, or `data/` in the current folder. An absolute `root` is kept.

    >>> data_path("/somewhere/mnist").as_posix()
    '/somewhere/mnist'
    """
    return Path(os.environ.get("TOOLKIT_DATA") or "data").expanduser() / Path(root).expanduser()


def require_folder(folder: Path, expected: str) -> Path:
    """`folder` itself. Raises: DataError saying what was expected in it and how to point to it, if it is not there."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}; expected {expected}; set TOOLKIT_DATA or data.root to where it is")
    return folder

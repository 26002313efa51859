"""Tell whether the files behind a data set are still the same, without reading them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


def files_signature(files: Iterable[str | Path], *more: object) -> str:
    """A digest of all that a data set's samples are made of, for `Dataset.signature`.

    Of each file its path, size and times of change count, so that a file written anew counts as another one, whatever it holds.

    Args:
        files: every file that is read, in the order of the samples: pictures, masks, tables.
        more: whatever else changes a sample (options, labels): numbers, texts, and lists of them.

    Raises: TypeError for anything else in `more`.
    """
    digest = hashlib.sha256(json.dumps(more).encode())
    for file in files:
        path = os.path.abspath(file)
        digest.update(f"\n{path}\0{_state(path)}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _state(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:  # whoever reads it will say so, and nothing of it is cached
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"

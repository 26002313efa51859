"""Name prepared pictures by all that they are made from."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import PIL

from toolkit.data.order import Indices
from toolkit.data.sample import Dataset
from toolkit.data.transforms import TransformList

CACHE_VERSION = 1
"""Raise it whenever the core decodes, prepares or stores pictures in another way."""


def cache_key(dataset: Any, rows: Indices, transforms: TransformList) -> str | None:
    """The name that `rows` of `dataset`, prepared by the leading part of `transforms`, have in the cache.

    It changes with the data set's own signature, with the source files of the data set's class and of a plugin's transforms, and with the
    versions of the libraries that decode and resize.

    Returns: 32 hexadecimal digits; None where the data set or a transform cannot be told from another one.
    """
    signature = dataset.signature() if isinstance(dataset, Dataset) else None
    leading = transforms.leading_key
    if signature is None or " at 0x" in leading:  # the repr of an object that differs each time
        return None
    digest = hashlib.sha256(f"{CACHE_VERSION}\n{signature}\n{leading}".encode())
    digest.update(rows.astype("<i8").tobytes())
    for library in (albumentations, cv2, np, PIL):
        digest.update(f"\n{library.__name__} {library.__version__}".encode())
    for file in sorted(_sources([dataset, *transforms.leading])):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def _sources(objects: Iterable[Any]) -> set[Path]:
    """The files that define the objects' classes and their bases, but for libraries whose versions count already."""
    files = set()
    for kind in {kind for item in objects for kind in type(item).__mro__}:
        package = kind.__module__.partition(".")[0]
        if package in sys.stdlib_module_names or package == "albumentations":
            continue
        try:
            files.add(Path(inspect.getfile(kind)))
        except (OSError, TypeError):  # made in a notebook: its code cannot be read again
            continue
    return {file for file in files if file.is_file()}

"""Libraries that only some work needs."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toolkit.errors import ConfigError


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings and log lines of a library about its own dependencies are not the user's."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def require(library: str, *, extra: str, purpose: str) -> Any:
    """The module, imported now. Raises: ConfigError saying how to install it, if it is not."""
    if library == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")  # the one that is certainly here
    try:
        with quiet():
            return importlib.import_module(library)
    except ImportError as error:
        raise ConfigError(f"{purpose} needs {library} ({error}); install it with pip install 'vision-toolkit[{extra}]'") from error

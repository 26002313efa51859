"""vision-toolkit: one trainer for classic vision tasks; every task is a plugin.

>>> import toolkit
>>> callable(toolkit.run), callable(toolkit.load)
(True, True)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.extension import hookimpl
    from toolkit.predictor import load
    from toolkit.runs import evaluate, resume, run

__all__ = ["evaluate", "hookimpl", "load", "resume", "run"]

# Importing albumentations asks a server for newer releases unless this is set before, by whichever file imports it first.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

_PLACES = {
    "run": "toolkit.runs",
    "resume": "toolkit.runs",
    "evaluate": "toolkit.runs",
    "load": "toolkit.predictor",
    "hookimpl": "toolkit.extension",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `toolkit --help` does not wait for torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'toolkit' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)

"""Whether an exported network answers as the original does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConfigError

TOLERANCE = 1e-4
"""Allowed difference, as a share of the largest answer or of 1, whichever is larger: two libraries add in other orders."""


def largest_difference(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], file_format: str) -> float:
    """The largest difference of two answers as a share of the largest answer (at least 1). Raises: ConfigError above 1e-4."""
    if ours.shape != theirs.shape:
        raise ConfigError(f"export --format {file_format}: the written network gives {list(theirs.shape)}, the model {list(ours.shape)}")
    if ours.dtype == bool:
        ours, theirs = ours.astype(np.float32), theirs.astype(np.float32)
    difference = float(np.abs(ours - theirs).max()) / max(1.0, float(np.abs(ours).max())) if ours.size else 0.0
    if not difference <= TOLERANCE:
        raise ConfigError(
            f"export --format {file_format}: the written network answers differently by {difference:.2g}, allowed {TOLERANCE:g}: "
            "its layers do not simply follow one another, or chance is at work in it"
        )
    return difference

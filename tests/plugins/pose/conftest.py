"""What tests of pose data sets share: a cache of their own, and MATLAB files read in the test's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit_pose import mat_reader


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _read_here(file: Path, out: Path) -> None:
    arrays: Any = mat_reader.plain_arrays(str(file))
    np.savez(out, **arrays)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read MATLAB files here: starting a child takes most of a second."""
    monkeypatch.setattr(mat_reader, "read_in_child", _read_here)

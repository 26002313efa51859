"""A registry with the classification task, a small config file, and study files beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.extension.discovery import load_plugins
from toolkit.extension.registry import Registry

CONFIG = """\
task: classification
data: {name: synthetic_shapes, size: 80, image_size: 16}
model: {name: mlp, hidden: [8]}
metrics: [accuracy]
fit: {batch_size: 8, phases: [{epochs: 1, optimizer: adam}]}
"""


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_plugins(()).registry


@pytest.fixture
def study(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a study file beside tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)

    def write(text: str) -> Path:
        file = tmp_path / "study.yaml"
        file.write_text(text)
        return file

    return write

"""No load path of the core or of a plugin of ours goes through pickle, which can run code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT / "toolkit", *sorted(folder for folder in (ROOT / "plugins").iterdir() if any(folder.glob("*.py")))]
READER = re.compile(
    r"\btorch\.load\b(?!\(.*weights_only=True\))|\bunpickle|\bfrom pickle|\bpickle\.(?!UnpicklingError)|\bjoblib\b|\bdill\b"
    r"|allow_pickle=True"
)
"""What would read a pickle; `torch.load` may be called where it is told to read nothing but weights."""


@pytest.mark.parametrize("package", PACKAGES, ids=lambda folder: folder.name)
def test_nothing_is_ever_read_through_pickle(package: Path) -> None:
    files = list(package.rglob("*.py"))
    assert files
    assert [str(file) for file in files if READER.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("line", ["torch.load(file)", "pickle.loads(data)", "from pickle import load", "np.load(f, allow_pickle=True)"])
def test_a_reader_of_pickles_would_be_found(line: str) -> None:
    assert READER.search(line)

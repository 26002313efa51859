"""What tests say of the command line."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

Command = Callable[..., CompletedProcess[str]]


def assert_fails(ended: CompletedProcess[str], exit_code: int, text: str) -> None:
    """One line on stderr, exactly `text`; where it holds several, each below a heading."""
    assert ended.stderr == f"error: {text}\n"
    assert ended.returncode == exit_code

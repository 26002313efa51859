"""Errors of the machine, wherever they are raised, become ones that a user can act on."""

from __future__ import annotations

import errno

import pytest
import torch

from toolkit.cli.app import as_toolkit_error
from toolkit.errors import ConfigError, ResourceError, ToolkitError

MEMORY = "lower fit.batch_size, fit.eval_batch_size (256 unless set) or loader.memory_gib"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), ResourceError, f"out of memory: no details; {MEMORY}"),
        (torch.OutOfMemoryError("tried 2 GiB\nadvice"), ResourceError, f"out of memory: tried 2 GiB; {MEMORY}"),
        (RuntimeError("can't allocate memory: 8 bytes"), ResourceError, f"out of memory: can't allocate memory: 8 bytes; {MEMORY}"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            ResourceError,
            "the disk is full: [Errno 28] No space left on device; free some space and `toolkit resume` the run folder",
        ),
        (
            RuntimeError("DataLoader worker (pid 1) is killed"),
            ResourceError,
            "a worker process that loads pictures was killed, probably for want of memory; use fewer loader.workers",
        ),
        (PermissionError(errno.EACCES, "denied", "file"), ConfigError, "no permission: [Errno 13] denied: 'file'"),
    ],
)
def test_what_a_user_can_mend_is_told_with_the_way(error: BaseException, kind: type[ToolkitError], message: str) -> None:
    told = as_toolkit_error(error)
    assert type(told) is kind
    assert str(told) == message


def test_anything_else_is_a_bug() -> None:
    assert as_toolkit_error(ValueError("nobody expected this")) is None

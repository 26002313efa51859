"""The allocator keeps what it is told to keep."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from toolkit.training.memory import keep_freed_memory
assert keep_freed_memory()
def step():
    for _ in range(8):
        torch.ones(2**20)  # 4 MiB
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_step_that_frees_and_takes_the_same_blocks_fetches_no_pages_anew() -> None:
    faults = int(subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout)
    pages = 80 * 4 * 2**20 // resource.getpagesize()  # what 80 blocks of 4 MiB would cost
    assert faults < pages // 20

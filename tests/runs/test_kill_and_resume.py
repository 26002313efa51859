"""A run killed at any moment and resumed gives the bytes of one that was left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_and_resume.py")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "at_least"), [("worker", 3), ("device", 1)])
def test_runs_killed_at_random_moments_and_resumed_end_with_the_same_bytes_whatever_their_workers(engine: str, at_least: int) -> None:
    workers = ["0", "2"] if engine == "worker" else ["0"]
    command = [sys.executable, str(SCRIPT), "--kills", str(at_least), "--workers", *workers, "--seed", "4", "--engine", engine]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kills, _, rest = ended.stdout.splitlines()[-1].partition(" kills: ")
    assert int(kills) >= at_least
    assert rest == f"{kills} byte-equal, 0 different"

"""A contender in a process of its own: a line of JSON to ask, a line of JSON to answer."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.contender import AbsentError, Choice


class Child:
    """The process, once it said that it is ready; `about` is what it said.

    Args:
        command: its standard output is answers alone.
        environment: laid over ours.

    Raises: AbsentError if it says {"absent": why}; ChildProcessError if it ends without a word.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | dict(environment or {}),
        )
        try:
            self.about = self._answer()
        except BaseException:
            self.close()
            raise

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds`. Raises: RuntimeError with what the other side says."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(choice) | {"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["images_per_s"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            told = Path(self._errors.name).read_text().strip().splitlines()
            raise ChildProcessError(told[-1] if told else "it ended without a word")
        answer: Mapping[str, Any] = json.loads(line)
        if "absent" in answer:
            raise AbsentError(answer["absent"])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

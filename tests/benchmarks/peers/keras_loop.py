"""Keras 3 on TensorFlow, in a process with a Python of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from peers.contender import AbsentError, Choice
from peers.job import Job
from toolkit.models.model import count_parameters

_SIDE = Path(__file__).with_name("keras_side.py")


class KerasLoop:
    """Talks to `keras_side.py`: a line of JSON to ask, a line of JSON to answer.

    Args:
        python: an interpreter that has keras and tensorflow.

    Raises: AbsentError if there is none, or it does not start.
    """

    def __init__(self, job: Job, python: Path | None) -> None:
        if python is None:
            raise AbsentError("no Python with keras and tensorflow was given; see --keras-python")
        self._folder = tempfile.TemporaryDirectory()
        arrays, errors = Path(self._folder.name) / "arrays.npz", Path(self._folder.name) / "errors.txt"
        np.savez(arrays, pictures=job.pictures, labels=job.labels)
        with errors.open("w") as stream:
            self._process = subprocess.Popen(
                [str(python), str(_SIDE), str(arrays), job.name, str(job.batch_size), str(job.run.runtime.threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
        self._errors = errors
        try:
            self.versions = self._answer()
            theirs, ours = self.versions["parameters"], count_parameters(job.run.model)
            if theirs != ours:
                raise RuntimeError(f"Keras' network for {job.name} has {theirs:,} parameters, ours {ours:,}; they must be equal")
        except BaseException as error:
            self.close()
            if isinstance(error, ChildProcessError):
                raise AbsentError(f"{python} runs no Keras on TensorFlow: {error}") from None
            raise

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(choice) | {"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["images_per_s"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            told = self._errors.read_text().strip().splitlines()
            raise ChildProcessError(told[-1] if told else "it ended without a word")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

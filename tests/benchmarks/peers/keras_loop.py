"""Keras 3 on TensorFlow, in a process with a Python of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from peers.child import Child
from peers.contender import AbsentError, Choice
from peers.job import Job
from toolkit.models.model import count_parameters

_SIDE = Path(__file__).with_name("keras_side.py")


class KerasLoop:
    """Talks to `keras_side.py`.

    Args:
        python: an interpreter that has keras and tensorflow.

    Raises: AbsentError if there is none, or it does not start.
    """

    def __init__(self, job: Job, python: Path | None) -> None:
        if python is None:
            raise AbsentError("no Python with keras and tensorflow was given; see --keras-python")
        self._folder = tempfile.TemporaryDirectory()
        arrays = Path(self._folder.name) / "arrays.npz"
        np.savez(arrays, pictures=job.pictures, labels=job.labels)
        command = [str(python), str(_SIDE), str(arrays), job.name, str(job.batch_size), str(job.run.runtime.threads)]
        try:
            self._child = Child(command, {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"})
        except ChildProcessError as error:
            self._folder.cleanup()
            raise AbsentError(f"{python} runs no Keras on TensorFlow: {error}") from None
        self.versions = self._child.about
        theirs, ours = self.versions["parameters"], count_parameters(job.run.model)
        if theirs != ours:
            self.close()
            raise RuntimeError(f"Keras' network for {job.name} has {theirs:,} parameters, ours {ours:,}; they must be equal")

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds`."""
        return self._child.images_per_s(choice, seconds)

    def close(self) -> None:
        """End the process."""
        self._child.close()
        self._folder.cleanup()

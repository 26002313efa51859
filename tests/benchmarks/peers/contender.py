"""What every timed loop offers: a rate for a choice of workers and precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Precision = Literal["float32", "bfloat16"]

WARM_UP = 3
"""Batches before the clock starts: workers begin, kernels are chosen, graphs are traced."""


class AbsentError(Exception):
    """A framework is not here, or must not be used; the text says why."""


@dataclass(frozen=True)
class Choice:
    """What a peer's user would try: worker processes beside the main one, and the precision of the arithmetic."""

    workers: int
    precision: Precision

    def __str__(self) -> str:
        return f"{self.workers} worker{'' if self.workers == 1 else 's'}, {self.precision}"


class Contender(Protocol):
    """A training loop that was set up for one job."""

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds` of training, after a warm-up."""

    def close(self) -> None:
        """End what still runs."""


class Stopwatch:
    """Times batches from the warm-up's end until `seconds` are over.

    Args:
        wait: returns when the device has done all that it was asked to.
        clock: seconds.
    """

    def __init__(self, seconds: float, wait: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._seconds, self._wait, self._clock = seconds, wait, clock
        self._batches = self._images = 0
        self._started = self._ended = 0.0

    def batch_done(self, images: int) -> bool:
        """Count a batch. Returns whether the time is over, at least two batches after the warm-up."""
        self._batches += 1
        if self._batches < WARM_UP:
            return False
        if self._batches == WARM_UP:
            self._wait()
            self._started = self._clock()
            return False
        self._images += images
        if self._batches < WARM_UP + 2 or self._clock() - self._started < self._seconds:
            return False
        self._wait()
        self._ended = self._clock()
        return True

    @property
    def images_per_s(self) -> float:
        """The rate, once the time is over."""
        return self._images / (self._ended - self._started)

"""`Loader`: the small interface between the data and the loop; each engine is one implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from toolkit.data.sample import Batch


class Loader(ABC):
    """Batches of one split as a pure function of (seed, epoch, position): no state survives between epochs.

    Training order is a permutation of (seed, epoch); a last batch that is not full is left out, so that every step sees
    `batch_size` samples. Evaluation order is the data set's, with nothing left out.
    In several processes each yields its share of every batch: the samples at positions rank, rank + world, ...
    of it, so that the batches together are those of one process.
    """

    workers: int
    """Processes beside the main one that make batches."""

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch, the same in every process."""

    @abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
        """The batches `start`, `start + 1`, ... of epoch `epoch` (counted from 0)."""

    @abstractmethod
    def sample_ids(self) -> tuple[str, ...]:
        """Names of all samples of the split over all processes, in the order of the data set."""

    @abstractmethod
    def describe(self) -> str:
        """One log line: the engine, how many workers, and why."""

    @abstractmethod
    def close(self) -> None:
        """End worker processes."""

"""A training part whose epochs follow each other as one, for loops that count batches instead of epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from toolkit.data.loader import Loader
from toolkit.data.sample import Batch


class RepeatedLoader(Loader):
    """Another loader's epochs, one after the other, as a single epoch of `batches` batches, which may be set anew.

    Args:
        stop: asked before every batch whether to end early.
    """

    def __init__(self, loader: Loader, batches: int = 0, stop: Callable[[], bool] = lambda: False) -> None:
        self._loader, self.batches, self._stop = loader, batches, stop
        self.workers = loader.workers

    def __len__(self) -> int:
        return self.batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
        """Batches of the other loader's epochs `epoch`, `epoch + 1`, ... from the beginning of the first."""
        left = self.batches - start
        for number in count(epoch):
            for batch in self._loader.epoch(number):
                if not left or self._stop():
                    return
                yield batch
                left -= 1

    def sample_ids(self) -> tuple[str, ...]:
        return self._loader.sample_ids()

    def describe(self) -> str:
        return self._loader.describe()

    def close(self) -> None:
        self._loader.close()

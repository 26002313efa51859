"""Epochs in a row, counted in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.data.loader import Loader
from toolkit.data.repeated import RepeatedLoader


class Three(Loader):
    """Three batches an epoch: (epoch, number)."""

    workers = 2

    def __len__(self) -> int:
        return 3

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        for number in range(start, 3):
            yield epoch, number

    def sample_ids(self) -> tuple[str, ...]:
        return ("a",)

    def describe(self) -> str:
        return "three"

    def close(self) -> None: ...


def test_epochs_follow_each_other_until_the_batches_are_done() -> None:
    loader = RepeatedLoader(Three(), 5)
    assert list(loader.epoch(7)) == [(7, 0), (7, 1), (7, 2), (8, 0), (8, 1)]
    assert (len(loader), loader.workers, loader.describe()) == (5, 2, "three")
    loader.batches = 1
    assert list(loader.epoch(0)) == [(0, 0)]


def test_they_end_early_where_they_are_told_to() -> None:
    seen: list[Any] = []
    for batch in RepeatedLoader(Three(), 9, stop=lambda: len(seen) == 4).epoch(0):
        seen.append(batch)
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0)]

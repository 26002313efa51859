"""Who is told how a fit goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Listener(Protocol):
    """Who is told how the fit goes; the loop itself writes nothing but checkpoints."""

    def restored(self, history: Sequence[Mapping[str, Any]]) -> None:
        """The rows of the epochs that a resumed run has behind it."""

    def epoch_started(self, phase: str, epoch: int, batches: int) -> None:
        """Epoch `epoch` (from 1) begins, with so many batches still to do."""

    def advanced(self, batches: int, images: int, loss: float) -> None:
        """So many more batches and images (over all processes); the mean loss of the last batch. A few times a second at most."""

    def epoch_ended(self, row: Mapping[str, Any], seconds: float, images_per_s: float) -> None:
        """The epoch's row for metrics.jsonl; seconds with validation and saving; images per second of training alone."""

    def log(self, text: str) -> None:
        """A line for the log."""


class SilentListener:
    """Hears everything and does nothing, for fits that are only timed or tried."""

    def restored(self, history: Sequence[Mapping[str, Any]]) -> None: ...

    def epoch_started(self, phase: str, epoch: int, batches: int) -> None: ...

    def advanced(self, batches: int, images: int, loss: float) -> None: ...

    def epoch_ended(self, row: Mapping[str, Any], seconds: float, images_per_s: float) -> None: ...

    def log(self, text: str) -> None: ...

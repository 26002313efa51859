"""`Recorder`: writes down what the training loop tells, and tells it on: to the terminal, the run folder and the plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.reporting.files import append_jsonl, read_jsonl, rewrite_jsonl
from toolkit.reporting.progress import Progress
from toolkit.reporting.run_dir import RunDir


class Recorder:
    """The listener of a fit.

    Args:
        folder: where metrics.jsonl and timings.jsonl grow; None in a process that writes nothing.
        epoch_hook: called with the row after each epoch.
    """

    def __init__(self, progress: Progress, folder: RunDir | None, epoch_hook: Callable[[Mapping[str, Any]], None]) -> None:
        self._progress = progress
        self._folder = folder
        self._epoch_hook = epoch_hook

    def restored(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Rows that were written after the checkpoint will be written again, so both files go back to it."""
        self._progress.log(f"resumed after epoch {len(history)}")
        if self._folder is not None:
            rewrite_jsonl(self._folder.metrics_jsonl, history)
            rewrite_jsonl(self._folder.timings_jsonl, read_jsonl(self._folder.timings_jsonl)[: len(history)])

    def epoch_started(self, phase: str, epoch: int, batches: int) -> None:
        """Start the bar."""
        self._progress.start_epoch(phase, epoch, batches)

    def advanced(self, batches: int, images: int, loss: float) -> None:
        """Move the bar."""
        self._progress.advance(images, loss, batches=batches)

    def epoch_ended(self, row: Mapping[str, Any], seconds: float, images_per_s: float) -> None:
        """One row in each file, one line on the terminal, one call to each plugin."""
        if self._folder is not None:
            append_jsonl(self._folder.metrics_jsonl, row)
            timing = {"epoch": row["epoch"], "seconds": round(seconds, 3), "images_per_s": round(images_per_s, 1)}
            append_jsonl(self._folder.timings_jsonl, timing)
        self._progress.end_epoch(row, seconds, images_per_s)
        self._epoch_hook(row)

    def log(self, text: str) -> None:
        """A line for the terminal and log.txt."""
        self._progress.log(text)

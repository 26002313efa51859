"""`Progress`: what a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, and log.txt always."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from toolkit.reporting.files import disk_errors

_REFRESH_SECONDS = 0.25


class Progress:
    """Tells how far a run is. Used as a context manager.

    A console that goes away (a closed pipe or terminal) ends the telling, never the run. The bar is drawn by the calls
    themselves, without a thread: data workers may be forked at any time, and a thread that holds a lock then would block them.

    Args:
        total_epochs: over all phases; 0 for a fit in one pass.
        log_path: lines are added to it, with times; None keeps no log.
        console: where to tell; stdout where not given.
    """

    def __init__(self, total_epochs: int, log_path: Path | None, console: Console | None = None) -> None:
        self._total_epochs = total_epochs
        self._of_total = f"/{total_epochs}" if total_epochs else ""
        self._log_path = log_path
        self._console = console or Console()
        self._silent = False
        self._bar: Bar | None = None
        self._log: TextIOWrapper | None = None
        self._stage = _Stage("", 0, 0.0)
        self._epoch = 0
        self._epoch_seconds: float | None = None
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        if self._log_path is not None:
            with disk_errors(self._log_path):
                self._log = self._log_path.open("a", encoding="utf-8", errors="backslashreplace")
        if self._console.is_interactive:
            bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[numbers]}", markup=False),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            bar.add_task("", total=None, visible=False, numbers="")
            self._bar = bar
            self._tell(bar.start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._tell(self._bar.stop)
            self._bar = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def start_epoch(self, phase: str, epoch: int, batches: int) -> None:
        """An epoch of training begins; `epoch` counts from 1 over all phases."""
        self._epoch = epoch
        self._start(f"epoch {epoch}{self._of_total}{_phase(phase)}", batches)

    def start_stage(self, name: str, batches: int) -> None:
        """Something else that takes a while begins, such as "validation"; the next start or end ends it."""
        self._start(name, batches)

    def advance(self, images: int, loss: float | None = None, *, batches: int = 1) -> None:
        """So many more images and batches are done; `loss` is the mean of the last batch, where it is at hand without waiting."""
        self._stage.take(images, batches, loss)
        if time.monotonic() - self._drawn_at >= _REFRESH_SECONDS:
            self._draw()

    def end_epoch(self, row: Mapping[str, Any], seconds: float, images_per_s: float) -> None:
        """An epoch is over, with its validation: one line.

        Args:
            row: of metrics.jsonl; "epoch", "phase", "train/loss" and the validation scores without parts are told.
            seconds: the whole epoch took.
            images_per_s: of training.
        """
        self._epoch_seconds = seconds
        epoch = int(row.get("epoch", self._epoch))
        width = len(str(self._total_epochs))
        scores = [f"{name} {value:.4g}" for name, value in _told_scores(row).items()]
        phase = _phase(str(row.get("phase", "")))
        speed = [f"{seconds:.1f} s", f"{images_per_s:,.0f} images/s"]
        self._hide()
        self.log("  ".join([f"epoch {epoch:>{width}}{self._of_total}{phase}", *scores, *speed]))

    def log(self, text: str) -> None:
        """Say one line, and keep it in log.txt with the time."""
        if self._log is not None and self._log_path is not None:
            now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            with disk_errors(self._log_path):
                self._log.write(f"{now}  {text}\n")
                self._log.flush()
        encoding = self._console.encoding
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        self._tell(lambda: self._console.print(shown, markup=False, highlight=False, soft_wrap=True))

    def _start(self, name: str, batches: int) -> None:
        self._stage = _Stage(name, batches, time.monotonic())
        self._draw()

    def _draw(self) -> None:
        if self._bar is None:
            return
        self._drawn_at = now = time.monotonic()
        numbers = self._stage.numbers(now)
        if (left := self._seconds_left(now)) is not None:
            numbers += f"  {_clock(left)} left"
        stage = self._stage
        self._bar.update(
            self._bar.task_ids[0],
            description=stage.name,
            total=stage.batches,
            completed=stage.batches_done,
            visible=True,
            numbers=numbers,
        )
        self._tell(self._bar.refresh)

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], visible=False)
            self._tell(self._bar.refresh)

    def _seconds_left(self, now: float) -> float | None:
        """Of the whole run where an epoch has been timed, else of this stage; None before the first batch."""
        rest = self._stage.seconds_left(now)
        if rest is None or self._epoch == 0:
            return rest
        per_epoch = self._epoch_seconds or now - self._stage.started_at + rest
        return rest + per_epoch * (self._total_epochs - self._epoch)

    def _tell(self, say: Callable[[], object]) -> None:
        """Do something to the console; fall silent for good if it has gone away."""
        if self._silent:
            return
        was_quiet = self._console.quiet
        try:
            say()
        except (OSError, ValueError) as error:
            if isinstance(error, UnicodeError):
                raise
            self._fall_silent()
        except SystemExit:
            if was_quiet or not self._console.quiet:  # rich turns a broken pipe into quiet and SystemExit; any other exit is not ours
                raise
            self._fall_silent()

    def _fall_silent(self) -> None:
        self._silent = True
        if self._bar is not None:
            with suppress(Exception, SystemExit):  # a bar that broke while starting cannot be stopped without an error
                self._bar.stop()  # gives stdout and stderr back
            self._bar = None


class _Stage:
    """Counts what was done since the bar began."""

    def __init__(self, name: str, batches: int, started_at: float) -> None:
        self.name = name
        self.batches = batches
        self.batches_done = 0
        self.images_done = 0
        self.loss: float | None = None
        self.started_at = started_at

    def take(self, images: int, batches: int, loss: float | None) -> None:
        self.images_done += images
        self.batches_done += batches
        if loss is not None:
            self.loss = loss

    def numbers(self, now: float) -> str:
        parts = [f"{self.batches_done}/{self.batches}"]
        if self.images_done and now > self.started_at:
            parts.append(f"{self.images_done / (now - self.started_at):,.0f} images/s")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        return "  ".join(parts)

    def seconds_left(self, now: float) -> float | None:
        if not self.batches_done:
            return None
        return (now - self.started_at) / self.batches_done * max(self.batches - self.batches_done, 0)


def _told_scores(row: Mapping[str, Any]) -> dict[str, float]:
    """The training loss, and every validation score that is not one of a part."""
    names = [name for name in row if name == "train/loss" or (name.startswith("val/") and name.count("/") == 1)]
    return {name: float(row[name]) for name in names}


def _phase(phase: str) -> str:
    return f" ({phase})" if phase not in ("", "all") else ""


def _clock(seconds: float) -> str:
    """
    >>> _clock(151), _clock(3723)
    ('2:31', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

import io
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from toolkit.errors import ResourceError
from toolkit.reporting.progress import Progress

ROW = {"epoch": 2, "phase": "head", "train/loss": 0.5, "train/accuracy": 0.8, "val/loss": 0.25, "val/accuracy": 0.87654, "lr": 0.1}


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=40)


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=110, color_system=None)


def told(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def one_epoch(progress: Progress) -> None:
    progress.start_epoch("head", 2, batches=4)
    progress.advance(10, 0.75, batches=4)
    progress.start_stage("validation", batches=1)
    progress.advance(5)
    progress.end_epoch(ROW | {"val/accuracy/cat": 0.1}, seconds=12.34, images_per_s=41234.5)


def test_without_a_terminal_an_epoch_is_one_plain_line_however_narrow(tmp_path: Path) -> None:
    console = plain()
    with Progress(10, None, console) as progress:
        one_epoch(progress)
    assert told(console) == "epoch  2/10 (head)  train/loss 0.5  val/loss 0.25  val/accuracy 0.8765  12.3 s  41,234 images/s\n"


def test_a_fit_in_one_pass_has_no_number_of_epochs(tmp_path: Path) -> None:
    console = plain()
    with Progress(0, tmp_path / "log.txt", console) as progress:
        progress.end_epoch({"epoch": 1, "phase": "one_pass", "val/loss": 0.5}, seconds=1.0, images_per_s=10)
    assert told(console).startswith("epoch 1 (one_pass)  val/loss 0.5")


def test_log_lines_are_told_and_kept_with_their_time(tmp_path: Path) -> None:
    console = plain()
    with Progress(10, tmp_path / "log.txt", console) as progress:
        progress.log("bfloat16 [bold]because[/bold] the CPU has it")
    assert told(console) == "bfloat16 [bold]because[/bold] the CPU has it\n"
    line = (tmp_path / "log.txt").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  bfloat16 \[bold\]because\[/bold\] the CPU has it\n", line)


def test_a_resumed_run_adds_to_its_log(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with Progress(1, tmp_path / "log.txt", plain()) as progress:
            progress.log(text)
    assert [line.split("  ")[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["first", "second"]


def test_on_a_terminal_a_bar_shows_batches_loss_and_time_left() -> None:
    console = terminal()
    with Progress(10, None, console) as progress:
        progress.start_epoch("head", 2, batches=4)
        progress._drawn_at = 0.0
        progress.advance(10, 0.75, batches=3)
    assert re.search(r"epoch 2/10 \(head\) .*3/4  [\d,]+ images/s  loss 0\.75  \d+:\d\d(:\d\d)? left", told(console))


def test_on_a_terminal_the_line_of_an_epoch_stands_above_a_bar_that_is_gone_at_the_end() -> None:
    console = terminal()
    with Progress(10, None, console) as progress:
        one_epoch(progress)
        progress.start_epoch("all", 3, batches=4)
    assert "epoch  2/10 (head)  train/loss 0.5" in told(console)
    assert told(console).endswith("\x1b[2K")  # the last thing said erases the line of the bar


def test_drawing_is_limited_however_often_the_loop_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    console = terminal()
    now = [100.0]
    monkeypatch.setattr("toolkit.reporting.progress.time.monotonic", lambda: now[0])
    with Progress(1, None, console) as progress:
        progress.start_epoch("all", 1, batches=1000)
        drawn = len(told(console))
        for _ in range(500):
            progress.advance(1, 0.5)
        assert len(told(console)) == drawn
        now[0] += 1
        progress.advance(1, 0.5)
    assert "501/1000  501 images/s" in told(console)


def test_time_left_counts_the_epochs_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    console = terminal()
    now = [100.0]
    monkeypatch.setattr("toolkit.reporting.progress.time.monotonic", lambda: now[0])
    with Progress(4, None, console) as progress:
        progress.start_epoch("all", 1, batches=2)
        progress.end_epoch({"epoch": 1}, seconds=60.0, images_per_s=1.0)
        progress.start_epoch("all", 2, batches=2)
        now[0] += 20.0
        progress.advance(5)
    assert "2:20 left" in told(console)  # 20 s for the second batch and 60 s for each of two more epochs


@pytest.mark.parametrize("bar", [True, False])
def test_a_reader_that_goes_away_ends_the_telling_and_not_the_run(bar: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "dup2", lambda *_: None)  # rich points stdout to nowhere, and the other tests still need it
    before = sys.stdout
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    console = Console(file=pipe, force_terminal=bar, force_interactive=bar)
    with Progress(2, tmp_path / "log.txt", console) as progress:
        one_epoch(progress)
        progress.log("still here")
    assert "still here" in (tmp_path / "log.txt").read_text()
    assert sys.stdout is before
    with suppress(BrokenPipeError):
        pipe.close()


def test_a_closed_stdout_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    with Progress(2, tmp_path / "log.txt") as progress:
        one_epoch(progress)
    assert "epoch 2/2" in (tmp_path / "log.txt").read_text()


def test_an_exit_that_is_not_of_the_pipe_goes_through() -> None:
    class Stopping(io.StringIO):
        def write(self, text: str) -> int:
            raise SystemExit(143)

    with pytest.raises(SystemExit, match="143"), Progress(2, None, Console(file=Stopping())) as progress:
        progress.log("x")


def test_a_letter_the_terminal_does_not_know_is_escaped(tmp_path: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Progress(2, tmp_path / "log.txt", Console(file=stream)) as progress:
        progress.log("é")
    stream.seek(0)
    assert stream.read() == "\\xe9\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").endswith("é\n")


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"cannot write .*gone/log\.txt: No such file"), Progress(1, tmp_path / "gone" / "log.txt"):
        pass


def test_no_thread_runs_beside_the_bar() -> None:
    before = threading.active_count()
    with Progress(1, None, terminal()) as progress:
        progress.start_epoch("all", 1, batches=1)
        assert threading.active_count() == before


def test_stdout_is_given_back_after_an_error() -> None:
    before = sys.stdout
    with suppress(RuntimeError), Progress(1, None, terminal()) as progress:
        progress.start_epoch("all", 1, batches=1)
        assert sys.stdout is not before
        raise RuntimeError
    assert sys.stdout is before

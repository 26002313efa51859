"""Damaged, busy, full or half-done run folders, and runs stopped by a signal: one line that says how to go on, and its exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from tests.commands import Command, assert_fails
from toolkit.reporting.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("own_folder")


# --- checkpoints: 4


def damage(checkpoint: Path) -> Path:
    """Change one byte in the middle of the weights."""
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()  # `last` and `best` may be hard links to the same file
    file.write_bytes(content)
    return file


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(command: Command, copied_run: Path) -> None:
    best, last = damage(copied_run / "checkpoints" / "best"), damage(copied_run / "checkpoints" / "last")
    expected = (
        f"no valid checkpoint in {copied_run}/checkpoints: {best} is damaged: its SHA-256 is not the manifest's; "
        f"{last} is damaged: its SHA-256 is not the manifest's"
    )
    assert_fails(command("resume", copied_run), 4, expected)


def test_with_last_damaged_a_run_goes_on_from_best_and_says_so(
    command: Command, config: Callable[..., Path], finished_run: Path, stop_after_epoch: Callable[..., None]
) -> None:
    stop_after_epoch(2)
    assert command("run", config(), "--out", "out").returncode == 143
    stop_after_epoch(None)
    file = damage(Path("out/checkpoints/last"))
    ended = command("resume", "out")
    assert ended.returncode == 0
    assert f"passed over: {file} is damaged: its SHA-256 is not the manifest's\n" in ended.stdout
    assert Path("out/metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()
    last = Path("checkpoints/last/model.safetensors")
    assert ("out" / last).read_bytes() == (finished_run / last).read_bytes()


def test_a_run_killed_between_saving_best_and_last_of_its_final_epoch_gets_both(command: Command, config: Callable[..., Path]) -> None:
    assert command("run", config(), "fit.phases.0.epochs=1", "--out", "out").returncode == 0
    last = Path("out/checkpoints/last/model.safetensors")
    expected = last.read_bytes()
    last.parent.rename("out/checkpoints/last.new")
    assert command("resume", "out").returncode == 0
    assert last.read_bytes() == expected


def test_with_best_damaged_a_run_chooses_its_best_anew_and_says_so(command: Command, copied_run: Path) -> None:
    damage(copied_run / "checkpoints" / "best")
    best = json.loads((copied_run / "checkpoints" / "last" / "state.json").read_text())["best"]
    ended = command("resume", copied_run)
    assert ended.returncode == 0
    lost = f"checkpoints/best is lost, so epoch {best['epoch']} with val/accuracy {best['value']} is; the best is chosen from here on"
    assert lost in (copied_run / "log.txt").read_text()
    rows = [json.loads(line) for line in (copied_run / "metrics.jsonl").read_text().splitlines()]
    chosen = json.loads((copied_run / "results.json").read_text())["select"]
    assert (chosen["epoch"], chosen["value"]) == (len(rows), rows[-1]["val/accuracy"])


def test_a_checkpoint_of_another_model_is_refused(command: Command, copied_run: Path) -> None:
    text = (copied_run / "config.yaml").read_text()
    (copied_run / "config.yaml").write_text(re.sub(r"dense: \[\d+\]", "dense: [7]", text))
    ended = command("evaluate", copied_run)
    assert ended.returncode == 4
    folder = copied_run / "checkpoints" / "best"
    assert ended.stderr.startswith(f"error: {folder}/model.safetensors does not fit the model; its code or config changed: Error")
    assert ended.stderr.count("\n") == 1


def test_evaluating_or_predicting_from_a_damaged_checkpoint_is_refused(command: Command, copied_run: Path) -> None:
    file = damage(copied_run / "checkpoints" / "best")
    expected = f"{file} is damaged: its SHA-256 is not the manifest's"
    assert_fails(command("evaluate", copied_run), 4, expected)
    assert_fails(command("predict", copied_run, copied_run / "plots" / "curves.png"), 4, expected)


def test_a_run_folder_without_its_environment_cannot_be_gone_on_with(command: Command, copied_run: Path) -> None:
    file = copied_run / "environment.json"
    file.unlink()
    ended = command("resume", copied_run)
    assert_fails(ended, 4, f"{file} cannot be read ([Errno 2] No such file or directory: '{file}'), so the run cannot be gone on with")
    file.write_text("[]")
    ended = command("resume", copied_run)
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"error: {file} cannot be read (")


# --- run folder busy: 5


def test_a_second_process_in_a_run_folder_is_refused(command: Command, config: Callable[..., Path], copied_run: Path) -> None:
    with RunDir(copied_run).lock():
        expected = f"is in use by process {os.getpid()} on {socket.gethostname()}; wait until it ends, or use another run folder"
        assert_fails(command("resume", copied_run), 5, f"{copied_run} {expected}")


# --- resources: 7


def test_a_disk_that_fills_up_while_saving_costs_nothing_that_was_saved(
    command: Command, config: Callable[..., Path], finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file = safetensors.torch.save_file
    saved = []

    def save_until_full(tensors: Any, filename: Any) -> None:
        saved.append(filename)
        if len(saved) == 6:  # model and optimizer of epochs 1 and 2; the optimizer of epoch 3 finds no room
            Path(filename).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, filename)

    monkeypatch.setattr(safetensors.torch, "save_file", save_until_full)
    ended = command("run", config(), "--out", "out")
    name = Path(saved[-1]).parent.name.removesuffix(".new")
    expected = f"checkpoint out/checkpoints/{name} could not be saved: the disk is full; free some space and run `toolkit resume out`"
    assert_fails(ended, 7, expected)
    assert len(Path("out/metrics.jsonl").read_text().splitlines()) == 2
    assert not list(Path("out/checkpoints").glob("*.new"))
    monkeypatch.setattr(safetensors.torch, "save_file", save_file)
    assert command("resume", "out").returncode == 0
    for file in ("metrics.jsonl", "checkpoints/last/model.safetensors"):
        assert ("out" / Path(file)).read_bytes() == (finished_run / file).read_bytes()


# --- stopped by a signal: 130 and 143


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_training_saves_a_checkpoint_and_says_how_to_go_on(
    command: Command,
    config: Callable[..., Path],
    finished_run: Path,
    stop_after_epoch: Callable[..., None],
    number: signal.Signals,
    exit_code: int,
) -> None:
    stop_after_epoch(2, number)
    ended = command("run", config(), "--out", "out")
    assert_fails(ended, exit_code, f"stopped by {number.name} after epoch 2; go on with `toolkit resume out`")
    state = json.loads(Path("out/checkpoints/last/state.json").read_text())
    assert (state["epoch"], state["position"]) == (2, 0)
    stop_after_epoch(None)
    assert command("resume", "out").returncode == 0
    for file in ("metrics.jsonl", "checkpoints/last/model.safetensors"):
        assert ("out" / Path(file)).read_bytes() == (finished_run / file).read_bytes()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", ["build_run", "write_report"])
def test_a_signal_outside_of_training_says_how_to_go_on_too(
    command: Command,
    config: Callable[..., Path],
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    number: signal.Signals,
    exit_code: int,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(f"toolkit.runs.{stage}", lambda *arguments, **options: os.kill(os.getpid(), number))
        ended = command("run", config(), "--out", "out")
    assert_fails(ended, exit_code, f"stopped by {number.name}; go on with `toolkit resume out`")
    assert command("resume", "out").returncode == 0
    assert Path("out/metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# --- the run folder of a run that did not get to its first epoch


def test_a_folder_whose_run_failed_before_training_is_used_again_by_the_mended_command(
    command: Command, config: Callable[..., Path]
) -> None:
    assert command("run", config(data="mnist"), "--out", "out").returncode == 3
    assert command("run", config(), "fit.phases.0.epochs=1", "--out", "out").returncode == 0


def test_a_second_run_into_a_folder_at_work_is_refused(command: Command, config: Callable[..., Path], copied_run: Path) -> None:
    with RunDir(copied_run).lock():
        ended = command("run", config(), "--out", copied_run)
    assert ended.returncode == 5
    assert ended.stderr.startswith(f"error: {copied_run} is in use by process {os.getpid()} on ")

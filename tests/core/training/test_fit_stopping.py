"""A stopped or killed fit resumes to the same bytes."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from tests.core.training.small_fit import (
    BATCH,
    BATCHES,
    Memory,
    adam,
    configured,
    conv_net,
    files_of,
    flat_net,
    linear_fall,
    nan_at,
    scripted,
    sgd,
    trained,
    trainer_of,
)
from toolkit.config.run_config import FitConfig, PhaseConfig, SelectConfig
from toolkit.errors import NonFiniteError, StoppedError, ToolkitError
from toolkit.training.checkpoint import load_checkpoint, newest_checkpoint

LONG = (PhaseConfig(sgd(), epochs=2, schedule=cast(Any, linear_fall)), PhaseConfig(adam(), epochs=2, train="head"))


def go_on(folder: Path, config: FitConfig) -> None:
    """Resume a fit from its newest checkpoint to its end."""
    trainer, _ = trainer_of(folder, config, conv_net())
    found, _ = newest_checkpoint(folder / "checkpoints")
    assert found is not None
    trainer.restore(found)
    trainer.run()


def stopping_at(epoch: int, position: int, number: int = signal.SIGTERM) -> Memory:
    """A loader that sends this process a signal before one of its batches."""
    return Memory(before_batch=lambda e, p: os.kill(os.getpid(), number) if (e, p) == (epoch, position) else None)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, BATCHES - 1), (1, BATCHES - 1), (2, 0), (3, 1), (3, BATCHES - 1)])
@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path: Path, place: tuple[int, int], ema: float | None) -> None:
    config = configured(*LONG, ema=ema, accumulate=2)
    straight = trained(tmp_path / "straight", config, conv_net())

    with pytest.raises(StoppedError) as caught:
        trained(tmp_path / "stopped", config, conv_net(), train=stopping_at(*place))
    epoch, position = place
    assert str(caught.value) == (
        f"stopped by SIGTERM in epoch {epoch + 1} after batch {position + 1}; go on with `toolkit resume {tmp_path / 'stopped'}`"
    )
    found, problems = newest_checkpoint(tmp_path / "stopped" / "checkpoints")
    assert found is not None
    assert problems == []
    assert (found.state["epoch"], found.state["position"]) == (epoch, position + 1)

    trainer, resumed = trainer_of(tmp_path / "stopped", config, conv_net())
    trainer.restore(found)
    trainer.run()
    assert resumed.started[0] == ("all" if epoch < 2 else "head", epoch + 1, BATCHES - position - 1)
    assert resumed.rows == straight.rows
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


@pytest.mark.slow
def test_a_run_stopped_at_every_batch_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    config = configured(*LONG, ema=0.9)
    trained(tmp_path / "straight", config, conv_net())
    for epoch in range(4):
        for position in range(BATCHES):
            trainer, _ = trainer_of(tmp_path / "stopped", config, conv_net(), train=stopping_at(epoch, position))
            found, _ = newest_checkpoint(tmp_path / "stopped" / "checkpoints")
            if found is not None:
                trainer.restore(found)
            with pytest.raises(StoppedError):
                trainer.run()
    go_on(tmp_path / "stopped", config)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_run_killed_between_two_epochs_resumes_to_the_same_bytes(tmp_path: Path, epochs: int) -> None:
    config = configured(*LONG)
    trained(tmp_path / "straight", config, conv_net())

    class Killed(BaseException):
        pass

    def kill(epoch: int, position: int) -> None:
        if epoch == epochs:
            raise Killed

    if epochs < 4:
        with pytest.raises(Killed):
            trained(tmp_path / "killed", config, conv_net(), train=Memory(before_batch=kill))
    else:
        trained(tmp_path / "killed", config, conv_net())
    go_on(tmp_path / "killed", config)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def test_an_early_stop_is_not_forgotten_by_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(PhaseConfig(sgd(), epochs=9), select=SelectConfig("val/loss", early_stop=2))
    scripted(monkeypatch, [1.0, 2.0], name="loss", higher=False)
    with pytest.raises(StoppedError):
        trained(tmp_path, config, flat_net(), train=stopping_at(2, 0))
    scripted(monkeypatch, [2.0], name="loss", higher=False)
    trainer, listening = trainer_of(tmp_path, config, flat_net())
    found, _ = newest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    trainer.restore(found)
    assert trainer.run().epoch == 3
    assert listening.lines == ["no better val/loss for 2 epochs: phase 'all' ends"]


@pytest.mark.parametrize(("number", "name", "code"), [(signal.SIGINT, "SIGINT", 130), (signal.SIGTERM, "SIGTERM", 143)])
def test_a_signal_is_told_by_the_exit_code(tmp_path: Path, number: signal.Signals, name: str, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(ToolkitError, match=rf"^stopped by {name} in epoch 1 after batch 2;") as caught:
        trained(tmp_path, configured(), flat_net(), train=stopping_at(0, 1, number))
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_signal_interrupts_at_once(tmp_path: Path) -> None:
    def twice(epoch: int, position: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, configured(), flat_net(), train=Memory(before_batch=twice))


def test_a_bad_loss_before_the_signal_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=re.escape("3.png")):
        trained(tmp_path, configured(), flat_net(), loss=nan_at("3.png"), train=stopping_at(0, BATCHES - 1))
    assert files_of(tmp_path) == {}


def test_a_fit_may_run_in_another_thread_where_signals_are_not_heard(tmp_path: Path) -> None:
    model, expected = flat_net(), flat_net()
    thread = threading.Thread(target=lambda: trained(tmp_path / "thread", configured(), model))
    thread.start()
    thread.join()
    trained(tmp_path / "main", configured(), expected)
    assert files_of(tmp_path / "thread") == files_of(tmp_path / "main")


def test_a_checkpoint_within_an_epoch_holds_its_sums(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(tmp_path, configured(), flat_net(), train=stopping_at(1, 1))
    found = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert found.tensors.keys() == {"model", "optimizer", "scores"}
    assert found.tensors["scores"]["metric//0/count"].item() == found.state["scores"]["count"] == 2 * BATCH
    assert json.loads((tmp_path / "checkpoints" / "last" / "state.json").read_text())["position"] == 2

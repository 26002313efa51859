"""A tiny classification run that most tests share, pictures for an image folder, and the command line in this process."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import toolkit
from toolkit.data.images import write_png
from toolkit.reporting.recorder import Recorder

TINY: dict[str, Any] = {
    "task": "classification",
    "data": {"name": "synthetic_shapes", "size": 120, "image_size": 16},
    "transforms": {"train": [{"name": "HorizontalFlip"}]},
    "model": {"name": "cnn", "filters": [4], "batch_norm": "after_activation", "dense": [8]},
    "metrics": ["accuracy"],
    "plots": ["confusion_matrix"],
    "loader": {"workers": 0},
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
    "fit": {"batch_size": 16, "phases": [{"epochs": 3, "optimizer": {"name": "adam", "lr": 3e-3}}]},
}


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """The config of `finished_run`: three epochs of seconds."""
    return TINY


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's folder; tests that change it take `copied_run`."""
    return toolkit.run(TINY, out=tmp_path_factory.mktemp("runs") / "tiny").folder


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished_run, tmp_path / "copied"))


@pytest.fixture
def config(tmp_path: Path, tiny: dict[str, Any]) -> Callable[..., Path]:
    """Writes the tiny config with some sections replaced, in the test's folder, where data and runs are looked for too."""

    def write(**sections: Any) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(tiny | sections))
        return file

    return write


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data are looked for, and runs written, in the test's own folder."""
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of 16x16 pictures, one folder per class, dark in the first class and brighter in each that follows."""

    def make(root: Path | None = None, *, classes: tuple[str, ...] = ("cat", "dog"), count: int = 20) -> Path:
        root = root or tmp_path / "pictures"
        noise = np.random.default_rng(0)
        for label, name in enumerate(classes):
            (root / name).mkdir(parents=True)
            for number in range(count):
                write_png(root / name / f"{number}.png", noise.integers(60 * label, 60 * label + 60, (16, 16, 3)).astype(np.uint8))
        return root

    return make


@pytest.fixture
def stop_after_epoch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes the run in this process get a signal when an epoch has ended; with None it no longer does."""
    ended = Recorder.epoch_ended
    wanted: dict[str, Any] = {}

    def epoch_ended(self: Recorder, row: Any, seconds: float, images_per_s: float) -> None:
        ended(self, row, seconds, images_per_s)
        if row["epoch"] == wanted.get("epoch"):
            os.kill(os.getpid(), wanted["signal"])

    def stop(epoch: int | None, number: signal.Signals = signal.SIGTERM) -> None:
        wanted.update(epoch=epoch, signal=number)

    monkeypatch.setattr(Recorder, "epoch_ended", epoch_ended)
    yield stop
    wanted.clear()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small pictures gain nothing from threads, and other tests may be running beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

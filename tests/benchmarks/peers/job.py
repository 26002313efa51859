"""A job to be timed: one config, built by the toolkit, and the same pictures as every peer gets them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.build import Run, build_run
from toolkit.config import load_config
from toolkit.errors import DataError
from toolkit.extension.discovery import load_plugins
from toolkit.training.runtime import active, choose_runtime

JOBS = Path(__file__).parents[1] / "jobs"


@dataclass(frozen=True)
class Job:
    """One config, built.

    pictures: [N, H, W, C] uint8, the training part without any transform.
    labels: [N] int64 as the loss sees them; all 0 where it sees none.
    synthetic: whether the data are drawn, since the config's own are not here.
    """

    name: str
    run: Run
    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    synthetic: bool

    @property
    def batch_size(self) -> int:
        """Pictures per step."""
        return self.run.config.fit.batch_size

    def wait(self) -> None:
        """Return when the device is done."""
        if self.run.runtime.device.type != "cpu":
            torch.accelerator.synchronize()


def read_job(name: str, overrides: Sequence[str] = (), *, tuned: bool = True) -> Job:
    """`jobs/<name>.yaml` with its data, or with drawn ones where those are not below TOOLKIT_DATA.

    Args:
        tuned: set the process up as a run does (the allocator keeps what is freed), which a peer's user would not.
    """
    try:
        return _read(name, overrides, synthetic=False, tuned=tuned)
    except DataError:
        return _read(name, overrides, synthetic=True, tuned=tuned)


def _read(name: str, overrides: Sequence[str], *, synthetic: bool, tuned: bool) -> Job:
    plugins = load_plugins()
    config, _ = load_config(JOBS / f"{name}.yaml", overrides=overrides, synthetic=synthetic, registry=plugins.registry)
    runtime = choose_runtime(config.runtime)
    with active(runtime) if tuned else nullcontext():
        run = build_run(config, plugins, runtime, synthetic=synthetic)
    pictures, labels = _raw(run)
    return Job(name, run, pictures, labels, synthetic)


def _raw(run: Run) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    part = run.data.parts["train"]
    indices = part.indices.tolist()
    store = part.prepared.store
    height, width, channels = store.shape
    if isinstance(store.images, Tensor) and part.dataset.info.input_shape == (channels, height, width):
        pictures = store.images.numpy()[part.prepared.positions]  # no transform came before: drawn pictures need not be drawn again
    else:
        pictures = np.stack([part.dataset[index].image for index in indices])
    targets: Any = store.targets
    encoded = run.task.encode(targets, (height, width))
    if not isinstance(encoded, Tensor):
        return pictures, np.zeros(len(pictures), np.int64)
    return pictures, encoded.cpu().numpy()[part.prepared.positions]

"""What a task decides once the weights are chosen, such as a threshold, kept with them in the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from toolkit.build import Run
from toolkit.data.tree import to_device, to_float32
from toolkit.errors import ConfigError
from toolkit.task import Task
from toolkit.training.checkpoint import load_checkpoint, save_checkpoint


def calibrate(run: Run, checkpoint: Path) -> None:
    """Let the task calibrate itself on the outputs of the model as it is, and add the result to `checkpoint`.

    Raises: ConfigError if the task asks for a part that the run does not read.
    """
    if type(run.task).calibrate is Task.calibrate:
        return
    part = run.task.calibration_part
    if part not in run.loaders:
        raise ConfigError(f"task '{run.task.name}' is to be calibrated on the {part} part, which this run does not read")
    outputs: Any = _outputs(run)
    if run.runtime.world > 1:  # every process must come to the same
        outputs = [output for share in run.runtime.gather(list(outputs)) for output in share]
    calibration = dict(run.task.calibrate(outputs))
    run.task.use_calibration(calibration)
    if calibration and run.runtime.is_main:
        saved = load_checkpoint(checkpoint)
        save_checkpoint(checkpoint, {**saved.tensors, "calibration": calibration}, {**saved.state, "calibrated_on": part})
    run.runtime.barrier()


def _outputs(run: Run) -> Iterator[Any]:
    run.model.eval()
    with torch.inference_mode():
        for batch in run.loaders[run.task.calibration_part].epoch(0):
            with run.runtime.autocast():
                output = run.model(batch.images)
            yield to_device(to_float32(output), torch.device("cpu"))

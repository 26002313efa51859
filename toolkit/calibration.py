"""What is decided once the weights are chosen, a threshold or which reading answers, kept with them in the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.build import Run
from toolkit.data.tree import to_device, to_float32
from toolkit.errors import ConfigError
from toolkit.evaluation.evaluate import Pass
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
    if calibration:
        _add(run, checkpoint, {"calibration": calibration}, {"calibrated_on": part})


def choose_answer(run: Run, validated: Pass, checkpoint: Path, log: Callable[[str], None]) -> str | None:
    """Let the task answer with the best of its readings, and note that in `checkpoint`.

    Args:
        validated: the scores of all readings on validation, before the choice.
        log: told what was chosen from what, or why nothing was.

    Returns: the reading; None if the task leaves no choice, or there is none.
    """
    readings = [reading for reading in validated.readings if reading]
    if type(run.task).answer_with is Task.answer_with or not readings:
        return None
    metric = run.config.fit.select.metric.removeprefix("val/")
    scores = {r: validated.scores[f"{r}/{metric}"] for r in readings if f"{r}/{metric}" in validated.scores}
    if not scores:
        reason = next((validated.undefined[f"{r}/{metric}"] for r in readings if f"{r}/{metric}" in validated.undefined), "")
        why = f"is undefined ({reason})" if reason else "tells them not apart"
        log(f"which of {', '.join(readings)} answers was not chosen, since val/{metric} {why}: the task's own choice stands")
        return None
    sign = 1 if validated.higher_is_better[f"{next(iter(scores))}/{metric}"] else -1
    chosen = max(scores, key=lambda reading: sign * scores[reading])
    run.task.answer_with(chosen)
    _add(run, checkpoint, {}, {"answer": chosen})
    log(f"{chosen} answers, chosen by val/{metric}: " + ", ".join(f"{reading} {value:.4g}" for reading, value in scores.items()))
    return chosen


def _add(run: Run, checkpoint: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    if run.runtime.is_main:
        saved = load_checkpoint(checkpoint)
        save_checkpoint(checkpoint, {**saved.tensors, **tensors}, {**saved.state, **state})
    run.runtime.barrier()


def _outputs(run: Run) -> Iterator[Any]:
    run.model.eval()
    with torch.inference_mode():
        for batch in run.loaders[run.task.calibration_part].epoch(0):
            with run.runtime.autocast():
                output = run.model(batch.images)
            yield to_device(to_float32(output), torch.device("cpu"))

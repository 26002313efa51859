"""What a run folder keeps so that the run can be resumed and its model used without the data set."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import TypeAdapter
from torch import nn

from toolkit.config.run_config import RuntimeConfig
from toolkit.data.sample import DataInfo
from toolkit.errors import CheckpointError, ConfigError
from toolkit.reporting.files import write_text_atomic
from toolkit.reporting.run_dir import RunDir
from toolkit.task import Task
from toolkit.training.checkpoint import load_checkpoint, load_weights
from toolkit.training.runtime import Runtime, choose_runtime


@dataclass(frozen=True)
class Beginning:
    """What the command line said beyond the config; stands in environment.json.

    name: of the config. command: what started the run, which a resumed one keeps. data_fingerprint: known once the data were read.
    """

    name: str
    synthetic: bool
    command: str
    plugin_files: tuple[str, ...] = ()
    data_fingerprint: str | None = None


def read_beginning(folder: RunDir) -> Beginning:
    """How the run of this folder began. Raises: CheckpointError if environment.json is missing or damaged."""
    try:
        written: dict[str, Any] = json.loads(folder.environment_json.read_text(encoding="utf-8"))
        return Beginning(**{field.name: written[field.name] for field in fields(Beginning)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder.environment_json} cannot be read ({error}), so the run cannot be gone on with") from error


def write_info(folder: RunDir, info: DataInfo) -> None:
    """Keep what the data set told the model (class names, shapes) as info.json."""
    write_text_atomic(folder.info_json, TypeAdapter(type(info)).dump_json(info, indent=1).decode())


def read_info(folder: RunDir, info_type: type[DataInfo]) -> DataInfo:
    """What `write_info` wrote, as the task's own class (`Task.info_type`). Raises: CheckpointError if it is missing or damaged."""
    try:
        info: DataInfo = TypeAdapter(info_type).validate_json(folder.info_json.read_text(encoding="utf-8"))
        return info
    except (OSError, ValueError) as error:
        hint = "a run that was stopped while reading its data has none yet"
        raise CheckpointError(f"{folder.info_json} cannot be read ({error}); {hint}") from error


def runtime_here(config: RuntimeConfig) -> Runtime:
    """For using a model: as it was trained, or, on a machine without that device, what there is."""
    try:
        return choose_runtime(config)
    except ConfigError:
        return choose_runtime(replace(config, device="auto", precision="auto", threads="auto"))


def load_chosen(model: nn.Module, task: Task[Any, Any, Any, Any], folder: RunDir, use: str) -> str | None:
    """Put the chosen checkpoint's weights into the model (the moving average where there is one), its calibration and answer into the task.

    Args:
        use: best or last.

    Returns: the reading that answers, where one was chosen.

    Raises: CheckpointError if it is missing or damaged; ConfigError if it was calibrated on another part than the task's options say.
    """
    checkpoint = load_checkpoint(folder.checkpoints / use)
    averaged = checkpoint.tensors.get("ema")
    if averaged is not None:  # names begin with "module.", and beside them stands the number of updates
        weights = {name.removeprefix("module."): value for name, value in averaged.items() if name.startswith("module.")}
        checkpoint.tensors["model"] = weights
    load_weights(model, checkpoint, "model")
    if calibration := checkpoint.tensors.get("calibration"):
        part = checkpoint.state.get("calibrated_on", task.calibration_part)
        if part != task.calibration_part:
            raise ConfigError(
                f"{folder.path} was calibrated on its {part} part, but the options of task '{task.name}' now ask for its "
                f"{task.calibration_part} part; leave them as they were, or run the config again"
            )
        task.use_calibration(calibration)
    answer: str | None = checkpoint.state.get("answer")
    if answer is not None:
        task.answer_with(answer)
    return answer

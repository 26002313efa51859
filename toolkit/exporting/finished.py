"""A finished run as exporting and looking inside need it: its model on the CPU in float32, and pictures as the model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import torch
from torch import Tensor, nn

from toolkit.build import eval_transforms
from toolkit.components import build_component, build_with_parts
from toolkit.config import load_config
from toolkit.config.run_config import RunConfig
from toolkit.data.sample import DataInfo, Sample
from toolkit.data.transforms import TransformList
from toolkit.extension.discovery import load_plugins
from toolkit.reporting.run_dir import RunDir
from toolkit.run_folder import load_chosen, read_beginning, read_info
from toolkit.task import Task


@dataclass(frozen=True)
class FinishedRun:
    """The chosen checkpoint of a run.

    model: on the CPU, in evaluation mode. transforms: the run's eval transforms. answer: the reading that answers, where one was chosen.
    """

    folder: RunDir
    config: RunConfig
    info: DataInfo
    task: Task[Any, Any, Any, Any]
    model: nn.Module
    transforms: TransformList
    answer: str | None


def load_finished(folder: str | Path) -> FinishedRun:
    """The run of a folder; its data set is not needed.

    Raises: ConfigError if there is no run; CheckpointError if it has no valid checkpoint yet.
    """
    run_dir = RunDir.open(Path(folder))
    plugins = load_plugins([Path(file) for file in read_beginning(run_dir).plugin_files])
    config, _ = load_config(run_dir.config_yaml, registry=plugins.registry)
    info = read_info(run_dir, config.task.component.factory.info_type)  # type: ignore[attr-defined]
    model: nn.Module = build_with_parts(config.model, info, info)
    task: Task[Any, Any, Any, Any] = build_component(config.task, info)
    answer = load_chosen(model, task, run_dir, config.fit.select.use)
    return FinishedRun(run_dir, config, info, task, model.eval(), eval_transforms(config), answer)


def as_network_sees(samples: Sequence[Sample[Any]], transforms: TransformList, info: DataInfo) -> tuple[Tensor, list[Any]]:
    """Pictures [B, C, H, W] after the transforms, and their targets; a picture of another size is resized to the network's."""
    _, height, width = info.input_shape
    resize = TransformList([albumentations.Resize(height, width)], evaluation=True)
    images, targets = [], []
    for sample in samples:
        seen = transforms.augment(transforms.prepare(sample), (0,))
        if seen.image.shape[:2] != (height, width):
            seen = resize.prepare(seen)
        images.append(torch.from_numpy(np.ascontiguousarray(seen.image)))
        targets.append(seen.target)
    return transforms.finish(torch.stack(images)), targets

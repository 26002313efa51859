"""What another program must know to use an exported model, as JSON beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from toolkit.config.dump import plain_config
from toolkit.exporting.finished import FinishedRun
from toolkit.models.model import count_parameters

_CHANNELS = {1: "grey", 3: "RGB"}


INPUT = "images"
"""What a model's input is called in the formats that name it."""


def contract(run: FinishedRun, file_format: str, *, layout: str, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Input shape, preprocessing, outputs and classes of an exported model.

    Args:
        layout: of the input, such as NCHW.
        outputs: names, in order.
    """
    channels, height, width = run.info.input_shape
    sizes = {"N": "any", "C": channels, "H": height, "W": width}
    finish = run.transforms.finish
    before = len(run.transforms.leading) + len(run.transforms.random)  # without the Normalize or ToFloat that `finish` stands for
    info = TypeAdapter(type(run.info)).dump_python(run.info, mode="json")
    return {
        "format": file_format,
        "task": run.task.name,
        "model": run.config.model.name,
        "parameters": count_parameters(run.model),
        "input": {
            "name": INPUT,
            "layout": layout,
            "shape": [sizes[axis] for axis in layout],
            "channels": _CHANNELS.get(channels, f"{channels}"),
            "type": "float32",
        },
        "preprocessing": {
            "transforms": plain_config(run.config)["transforms"]["eval"][:before],
            "then": "value = pixel * scale + offset, pixel in 0..255, per channel",
            "scale": list(finish.scale),
            "offset": list(finish.offset),
        },
        "outputs": list(outputs),
        "output_meaning": run.task.output_meaning,
        "info": info,
        "run": {"checkpoint": run.config.fit.select.use, "seed": run.config.seed, **({"answer": run.answer} if run.answer else {})},
    }


def output_names(output: Any) -> tuple[str, ...]:
    """What a model gives, by name: a tensor is "output", a dataclass has the names of its fields that are tensors."""
    if dataclasses.is_dataclass(output):
        return tuple(field.name for field in dataclasses.fields(output) if isinstance(getattr(output, field.name), Tensor))
    return tuple(f"output_{index}" for index in range(len(output))) if isinstance(output, tuple) else ("output",)

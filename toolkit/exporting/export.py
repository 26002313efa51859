"""`export`: a run's chosen model as a file that other programs read, and JSON beside it that says how to use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch

from toolkit.errors import ConfigError
from toolkit.exporting.agreement import largest_difference
from toolkit.exporting.contract import contract, output_names
from toolkit.exporting.finished import FinishedRun, load_finished
from toolkit.exporting.keras_network import as_keras
from toolkit.exporting.onnx_file import write_onnx
from toolkit.models.optional import quiet, require
from toolkit.reporting.files import disk_errors, write_bytes_atomic, write_json_atomic

Format = Literal["onnx", "safetensors", "keras"]


def export(folder: str | Path, file_format: Format, out: Path | None = None) -> tuple[Path, Path]:
    """Write a run's model; its answers are compared with the original's before the file gets its name.

    Args:
        out: the file; default `export/model.<format>` in the run folder.

    Returns: the file, and the JSON beside it: input, preprocessing, outputs, classes.
    Raises: ConfigError if a library is missing or the network cannot be written in this format.
    """
    run = load_finished(folder)
    file = out or run.folder.path / "export" / f"model.{file_format}"
    if file.suffix != f".{file_format}":
        raise ConfigError(f"--out {file}: expected a name that ends with .{file_format}")
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    unchecked = file.with_name(f"{file.stem}.unchecked{file.suffix}")
    try:
        layout, outputs = _WRITERS[file_format](run, unchecked)
        with disk_errors(file):
            unchecked.replace(file)
    finally:
        unchecked.unlink(missing_ok=True)
    beside = file.with_name(file.name + ".json")
    write_json_atomic(beside, contract(run, file_format, layout=layout, outputs=outputs))
    return file, beside


def _onnx(run: FinishedRun, file: Path) -> tuple[str, tuple[str, ...]]:
    return "NCHW", write_onnx(run.model, run.info.input_shape, file)


def _safetensors(run: FinishedRun, file: Path) -> tuple[str, tuple[str, ...]]:
    """The state dict by name; `pretrained: FILE` reads it back."""
    state = {name: value.detach().contiguous().clone() for name, value in run.model.state_dict().items()}
    write_bytes_atomic(file, safetensors.torch.save(state))
    with torch.no_grad():
        return "NCHW", output_names(run.model(torch.zeros(1, *run.info.input_shape)))


def _keras(run: FinishedRun, file: Path) -> tuple[str, tuple[str, ...]]:
    network = as_keras(run.model, run.info.input_shape)
    keras = require("keras", extra="keras", purpose="exporting to Keras")
    with disk_errors(file), quiet():
        network.save(file)
        again = keras.saving.load_model(file, compile=False)
    images = torch.rand(3, *run.info.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = run.model(images).numpy()
    with torch.no_grad(), quiet():
        theirs = again(images.permute(0, 2, 3, 1).numpy(), training=False)
    largest_difference(answers, np.asarray(keras.ops.convert_to_numpy(theirs)), "keras")
    return "NHWC", ("output",)


_WRITERS: Mapping[Format, Callable[[FinishedRun, Path], tuple[str, tuple[str, ...]]]] = {
    "onnx": _onnx,
    "safetensors": _safetensors,
    "keras": _keras,
}

"""A model as ONNX, for any number of pictures at once, with the answers that PyTorch gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.exporting.agreement import largest_difference
from toolkit.exporting.contract import INPUT, output_names
from toolkit.models.model import Shape, count_parameters
from toolkit.models.optional import quiet, require

_ONE_FILE_BYTES = 1_800_000_000  # protobuf ends at 2 GiB; larger weights go into a second file beside it


class _Tensors(nn.Module):
    """The model with a plain tuple of tensors for an answer, as ONNX wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, C, H, W] -> every tensor of the model's output."""
        output: Any = self.model(images)
        if dataclasses.is_dataclass(output) and not isinstance(output, type):
            return tuple(getattr(output, name) for name in output_names(output))
        return output if isinstance(output, tuple) else (output,)


def write_onnx(model: nn.Module, input_shape: Shape, file: Path) -> tuple[str, ...]:
    """Write `model` and compare it, in onnxruntime, with PyTorch on pictures of noise, for batches of one and of three.

    Returns: the outputs' names.
    Raises: ConfigError if a library is missing, the network cannot be written, or the answers differ by more than 1e-4.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        require(library, extra="export", purpose="exporting to ONNX")
    plain = _Tensors(model).eval()
    example = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        names = output_names(model(example))
    try:
        with quiet():
            torch.onnx.export(
                plain,
                (example,),
                file,
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(names),
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
                external_data=4 * count_parameters(model) > _ONE_FILE_BYTES,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ConfigError(f"export --format onnx: this network cannot be written: {_cause(error)}") from error
    _check(plain, input_shape, file)
    return names


def _check(plain: _Tensors, input_shape: Shape, file: Path) -> None:
    onnxruntime = require("onnxruntime", extra="export", purpose="exporting to ONNX")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = torch.rand(count, *input_shape, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = plain(images)
        for ours, theirs in zip(expected, session.run(None, {INPUT: images.numpy()}), strict=True):
            largest_difference(ours.numpy(), np.asarray(theirs), "onnx")


def _cause(error: BaseException) -> str:
    """The first line of what went wrong in the first place: the exporter wraps it in its own advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

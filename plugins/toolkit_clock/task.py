"""`ClockTask`: what time does an analog clock show?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import matplotlib
import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from toolkit.config.run_config import RunConfig
from toolkit.errors import PluginError
from toolkit.task import Task
from toolkit_clock.checks import config_problems
from toolkit_clock.decoding import circular_distances, independent_reading, time_log_probabilities
from toolkit_clock.types import (
    ClockInfo,
    ClockOutput,
    Fractions,
    HandLogits,
    HandVectors,
    TimeLogits,
    TimePrediction,
    TimeTarget,
    circular_error_min,
    clock_text,
)

_SHORTEST_PX = 224
_CAPTION_PX = 64
_RIGHT, _NEAR, _WRONG, _UNKNOWN = (24, 122, 62), (178, 104, 0), (190, 30, 45), (60, 60, 60)
_WIDTHS: dict[type, dict[str, tuple[int, ...]]] = {
    HandLogits: {"hour": (12,), "minute": (60,)},
    TimeLogits: {"time": (720,)},
    Fractions: {"values": (1, 2)},
    HandVectors: {"hour": (2,), "minute": (2,)},
}


class ClockTask(Task[TimeTarget, Tensor, ClockOutput, TimePrediction]):
    """Read an analog clock to the minute.

    A head gives hour and minute logits, logits of all 720 times, fractions, or the hands' vectors. Each prediction holds two readings:
    '' is joint decoding, the time of least expected circular error under everything the network said and the coupling of the
    hands; `independent` reads each hand by itself.

    Args:
        coupling_hours: how far the hour hand is taken to be misjudged, in hours (an hour is 30 degrees); within about this much of a
            full hour the two neighbouring hours are weighed against each other. 0 takes the hour head at its word.
    """

    name: ClassVar[str] = "clock"
    output_meaning: ClassVar[str] = (
        "by name: logits of hours and minutes, logits of all 720 times, shares of a turn, or sine and cosine of each hand's angle"
    )
    info_type: ClassVar[type[ClockInfo]] = ClockInfo
    default_loss: ClassVar[str] = "cross_entropy"
    default_metrics: ClassVar[tuple[str, ...]] = ("common_sense_error", "time_accuracy")
    default_plots: ClassVar[tuple[str, ...]] = ("error_histogram", "hour_confusion", "error_by_time", "worst_cases", "ten_predictions")
    default_select: ClassVar[str] = "val/common_sense_error_min"

    @classmethod
    def config_problems(cls, config: RunConfig) -> Iterable[tuple[str, str]]:
        """Transforms that mirror, and a loss that cannot judge the head."""
        return config_problems(config)

    def __init__(self, info: ClockInfo, /, *, coupling_hours: Annotated[float, Ge(0), Le(1)] = 0.1) -> None:
        super().__init__(info)
        self.coupling_hours = coupling_hours

    def encode(self, targets: TimeTarget, size: tuple[int, int]) -> Tensor:
        """[B] int64 minute of the half day; each loss takes from it what its head gives."""
        return targets.time_min

    def decode(self, output: ClockOutput, to_original: Tensor) -> TimePrediction:
        """Any head's output -> both readings. Raises: PluginError for an output of another type or shape."""
        check_output(output)
        probabilities = time_log_probabilities(output, self.coupling_hours).exp()  # [B, 720]
        expected_min = probabilities @ circular_distances(probabilities.device)  # [B, 720] of every time that could be answered
        error_min, time_min = expected_min.min(dim=1)
        confidence = probabilities.gather(1, time_min[:, None])[:, 0].clamp(0, 1)
        return TimePrediction(time_min, independent_reading(output), error_min, confidence)

    def readings(self, prediction: TimePrediction) -> Mapping[str, TimePrediction]:
        """'' is joint decoding, `independent` each hand by itself."""
        return {"": prediction, "independent": dataclasses.replace(prediction, time_min=prediction.independent_min)}

    def describe(self, prediction: TimePrediction, size: tuple[int, int]) -> Mapping[str, Any]:
        """{"time": "3:59", "error_min_expected": minutes, "confidence": probability of being exact, "time_independent": "4:59"}.

        Error and confidence are the network's own estimates, which are too sure on clocks unlike those it was trained with.
        """
        return {
            "time": clock_text(int(prediction.time_min)),
            "error_min_expected": round(float(prediction.error_min_expected), 3),
            "confidence": round(float(prediction.confidence), 4),
            "time_independent": clock_text(int(prediction.independent_min)),
        }

    def draw(self, image: Tensor, prediction: TimePrediction, truth: TimeTarget | None) -> Tensor:
        """The picture over a plain dial with the time read: green where exact, amber within 5 minutes, red beyond, grey if unknown."""
        read = int(prediction.time_min)
        lines, color = [clock_text(read), f"± {float(prediction.error_min_expected):.1f} min expected"], _UNKNOWN
        if truth is not None:
            error = int(circular_error_min(prediction.time_min.cpu(), truth.time_min.cpu()))
            color = _RIGHT if error == 0 else _NEAR if error <= 5 else _WRONG
            lines[1] = "exact" if error == 0 else f"truth {clock_text(int(truth.time_min))}, {error} min off"
        picture = _enlarged(image)
        caption = max(_CAPTION_PX, min(picture.size) // 5)  # of a photograph too it can be read
        canvas = Image.new("RGB", (picture.width, picture.height + caption), "white")
        canvas.paste(picture, (0, 0))
        canvas.paste(_plain_dial(read, color, caption), (0, picture.height))
        pen = ImageDraw.Draw(canvas)
        for line, middle, size in zip(lines, (0.34, 0.72), (0.375, 0.17), strict=True):  # in captions
            place = (1.1 * caption, picture.height + middle * caption)
            pen.text(place, line, fill=color, font=_font(round(size * caption)), anchor="lm")
        return torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous()


def check_output(output: object) -> None:
    """Raises: PluginError where a model's output is none of the clock's, or has another shape."""
    widths = _WIDTHS.get(type(output))
    if widths is None:
        kinds = ", ".join(kind.__name__ for kind in _WIDTHS)
        raise PluginError(f"the model's output is a {type(output).__name__}; expected one of {kinds}, as the clock's heads give")
    for field, allowed in widths.items():
        values = getattr(output, field)
        if values.ndim != 2 or values.shape[1] not in allowed:
            expected = " or ".join(f"[samples, {width}]" for width in allowed)
            raise PluginError(f"the model's output {type(output).__name__}.{field} has shape {list(values.shape)}; expected {expected}")


def _enlarged(image: Tensor) -> Image.Image:
    picture = Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())
    factor = -(-_SHORTEST_PX // min(picture.size))
    if factor == 1:
        return picture
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def _plain_dial(time_min: int, color: tuple[int, int, int], size: int, finer: int = 4) -> Image.Image:
    side = size * finer
    dial = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(dial)
    middle, radius = side / 2, 0.44 * side

    def at(share: float, turn: float) -> tuple[float, float]:
        angle = 2 * math.pi * turn
        return middle + radius * share * math.sin(angle), middle - radius * share * math.cos(angle)

    pen.ellipse([middle - radius, middle - radius, middle + radius, middle + radius], outline=color, width=side // 40)
    for hour in range(12):
        pen.line([at(0.76 if hour % 3 == 0 else 0.86, hour / 12), at(0.94, hour / 12)], fill=color, width=side // 60)
    pen.line([(middle, middle), at(0.5, time_min / 720)], fill=color, width=side // 22)
    pen.line([(middle, middle), at(0.8, time_min % 60 / 60)], fill=color, width=side // 36)
    return dial.resize((size, size), Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)

"""`ClassificationTask`: one label per picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import matplotlib
import numpy as np
import torch
from annotated_types import Ge
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from toolkit.errors import PluginError
from toolkit.task import Task
from toolkit_classification.types import ClassificationInfo, ClassPrediction, LabelTarget

_SHORTEST_PX = 160  # a 28-pixel digit is enlarged until a person can see it and a caption fits below
_CAPTION_PX = 15
_RIGHT, _WRONG, _UNKNOWN = (24, 122, 62), (190, 30, 45), (60, 60, 60)


class ClassificationTask(Task[LabelTarget, Tensor, Tensor, ClassPrediction]):
    """Say which one of N classes a picture shows.

    A model gives logits [B, N]; the answer is their softmax.

    Args:
        spare_outputs: logits that the model gives beyond those of the classes. The loss sees them; the answer leaves them out.
    """

    name: ClassVar[str] = "classification"
    output_meaning: ClassVar[str] = "logits [B, classes and spare outputs]; the softmax of the classes' logits gives their probabilities"
    info_type: ClassVar[type[ClassificationInfo]] = ClassificationInfo
    default_loss: ClassVar[str] = "cross_entropy"
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_top5", "f1_macro")
    default_plots: ClassVar[tuple[str, ...]] = ("confusion_matrix", "prediction_grid", "per_class_accuracy")
    default_select: ClassVar[str] = "val/accuracy"
    info: ClassificationInfo

    def __init__(self, info: ClassificationInfo, /, *, spare_outputs: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__(info)
        self.spare_outputs = spare_outputs

    def encode(self, targets: LabelTarget, size: tuple[int, int]) -> Tensor:
        """[B] int64 labels: cross-entropy takes them as they are."""
        return targets.label

    def decode(self, output: Tensor, to_original: Tensor) -> ClassPrediction:
        """Logits [B, N + spare_outputs] -> probabilities of the N classes. Raises: PluginError for another number of logits."""
        num_classes, spare = self.info.num_outputs, self.spare_outputs
        if output.ndim != 2 or output.shape[1] != num_classes + spare:
            raise PluginError(
                f"the model's output has shape {list(output.shape)}; expected [samples, {num_classes + spare}], "
                f"one logit for each of the {num_classes} classes" + (f" and {spare} spare ones" if spare else "")
            )
        return ClassPrediction(output[:, :num_classes].float().softmax(dim=1))

    def describe(self, prediction: ClassPrediction, size: tuple[int, int]) -> Mapping[str, Any]:
        """One sample's answer: {"class": name, "probability": p, "top5": [[name, p], ...]}, the most probable first."""
        probabilities = prediction.probabilities.cpu()  # [N]
        order = probabilities.argsort(descending=True, stable=True)[:5].tolist()
        top5 = [[self.info.classes[label], probabilities[label].item()] for label in order]
        return {"class": top5[0][0], "probability": top5[0][1], "top5": top5}

    def draw(self, image: Tensor, prediction: ClassPrediction, truth: LabelTarget | None) -> Tensor:
        """The picture, enlarged if small, over a caption: green where right, red with the truth where wrong."""
        answer = self.describe(prediction, (image.shape[1], image.shape[2]))
        lines, color = [f"{answer['class']}  {answer['probability']:.0%}"], _UNKNOWN
        if truth is not None:
            true_class = self.info.classes[int(truth.label)]
            color = _RIGHT if true_class == answer["class"] else _WRONG
            lines += [] if true_class == answer["class"] else [f"truth: {true_class}"]
        pixels = np.array(_captioned(_enlarged(image), lines, color))  # [H', W', 3], a copy that torch may own
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _enlarged(image: Tensor) -> Image.Image:
    picture = Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())
    factor = -(-_SHORTEST_PX // max(picture.size))  # a whole number, so that every pixel stays a square
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _captioned(picture: Image.Image, lines: list[str], color: tuple[int, int, int]) -> Image.Image:
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _CAPTION_PX)
    width, line_height = max(picture.width, _SHORTEST_PX), _CAPTION_PX + 5
    canvas = Image.new("RGB", (width, picture.height + 2 * line_height + 6), "white")  # always two lines, so that pictures line up
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        text = _shortened(line, font, width - 10)
        pen.text((width / 2, picture.height + 3 + number * line_height), text, fill=color, font=font, anchor="ma")
    return canvas


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    return next((text[:end] + "…" for end in range(len(text) - 1, 0, -1) if font.getlength(text[:end] + "…") <= width), "…")

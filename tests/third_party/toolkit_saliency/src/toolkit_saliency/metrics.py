"""`iou` and `mean_absolute_error`, in pixels of the file. Sums are float64 and counts whole, so that batches do not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Lt
from toolkit.data import DataInfo
from toolkit.data.tree import select
from toolkit.evaluation.metrics import Metric, Undefined
from torch import Tensor

from toolkit_saliency.types import MaskTarget, SaliencyMap


class Iou(Metric[SaliencyMap]):
    """Mean over the samples of intersection over union of answer and object; 1 where both are empty.

    Args:
        threshold: a pixel more probable than this is taken for the object.
    """

    def __init__(self, info: DataInfo, /, *, threshold: Annotated[float, Gt(0), Lt(1)] = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        self.sums = {"iou": torch.zeros((), dtype=torch.float64), "samples": torch.zeros((), dtype=torch.int64)}

    def update(self, prediction: SaliencyMap, truth: MaskTarget) -> None:
        """Take in a batch."""
        for probability, salient in _in_file(prediction, truth):
            answer = probability > self.threshold
            union = (answer | salient).sum()
            iou = torch.where(union > 0, (answer & salient).sum().double() / union, 1.0)
            self.add("iou", iou)
            self.add("samples", torch.ones_like(union))

    def compute(self) -> Mapping[str, float | Undefined]:
        """`iou`."""
        samples = self.sums["samples"].item()
        return {"iou": self.sums["iou"].item() / samples if samples else Undefined("there are no samples")}


class MeanAbsoluteError(Metric[SaliencyMap]):
    """Mean over the samples of the mean difference between probability and truth of a pixel."""

    higher_is_better: ClassVar[bool] = False

    def __init__(self, info: DataInfo, /) -> None:
        super().__init__()
        self.sums = {"error": torch.zeros((), dtype=torch.float64), "samples": torch.zeros((), dtype=torch.int64)}

    def update(self, prediction: SaliencyMap, truth: MaskTarget) -> None:
        """Take in a batch."""
        for probability, salient in _in_file(prediction, truth):
            self.add("error", (probability.double() - salient.double()).abs().mean())
            self.add("samples", torch.ones_like(self.sums["samples"], device=salient.device))

    def compute(self) -> Mapping[str, float | Undefined]:
        """`mean_absolute_error`."""
        samples = self.sums["samples"].item()
        return {"mean_absolute_error": self.sums["error"].item() / samples if samples else Undefined("there are no samples")}


def _in_file(prediction: SaliencyMap, truth: MaskTarget) -> Iterator[tuple[Tensor, Tensor]]:
    """Each sample's probabilities and mask, [H, W] of its file; files may differ in size, so one by one."""
    for index, salient in enumerate(truth.salient):
        height, width = salient.shape
        yield select(prediction, index).in_file(height, width), salient.bool()

"""The toolkit's conformance suite on this plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from toolkit.testing import PluginContract
from torch import Tensor


class TestSaliency(PluginContract):
    config: ClassVar[Mapping[str, Any]] = {
        "task": "saliency",
        "data": {"name": "saliency_folder", "root": "nowhere"},
        "transforms": {"train": [{"name": "HorizontalFlip", "p": 0.5}, "Vignette"]},
        "model": {"name": "fcn", "backbone": "dilated"},
        "fit": {"batch_size": 16, "phases": [{"epochs": 1, "optimizer": {"name": "adam", "lr": 1e-2}}]},
        "synthetic": {"data": {"name": "synthetic_blobs", "size": 60, "shortest_px": 32, "longest_px": 32}},
    }
    perfect_scores: ClassVar[Mapping[str, float]] = {"iou": 1.0, "mean_absolute_error": 0.0}
    random_transforms: ClassVar[Sequence[Mapping[str, Any]]] = (  # those that lose no pixel
        {"name": "D4", "p": 1.0},
        {"name": "Vignette", "p": 1.0},
    )
    overfit_rate: ClassVar[float] = 1e-2

    def perfect_output(self, encoded: Tensor) -> Tensor:
        return (encoded * 2 - 1) * 30  # logits so far out that the sigmoid is 0 or 1

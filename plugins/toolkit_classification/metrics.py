"""Accuracy, top-5 accuracy and macro F1, all from counts of samples per class."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from toolkit.evaluation.metrics import Metric, Undefined
from toolkit_classification.types import ClassificationInfo, ClassPrediction, LabelTarget

_NO_SAMPLES = Undefined("there are no samples")


class Accuracy(Metric[ClassPrediction]):
    """Share of samples whose most probable class is the true one: over all samples, and over the samples of each class."""

    def __init__(self, info: ClassificationInfo, /) -> None:
        super().__init__()
        self.classes = info.classes
        self.sums = {name: torch.zeros(len(info.classes), dtype=torch.int64) for name in ("right", "samples")}

    def update(self, prediction: ClassPrediction, truth: LabelTarget) -> None:
        """Take in a batch."""
        self.add_at("right", truth.label, prediction.label == truth.label)
        self.add_at("samples", truth.label, torch.ones_like(truth.label))

    def compute(self) -> Mapping[str, float | Undefined]:
        """`accuracy`, and `accuracy/<class>` for each class; a class without samples has none."""
        right, samples = self.sums["right"].tolist(), self.sums["samples"].tolist()
        scores: dict[str, float | Undefined] = {"accuracy": sum(right) / sum(samples) if sum(samples) else _NO_SAMPLES}
        for name, class_right, class_samples in zip(self.classes, right, samples, strict=True):
            absent = Undefined(f"no sample is of class '{name}'")
            scores[f"accuracy/{name}"] = class_right / class_samples if class_samples else absent
        return scores


class AccuracyTop5(Metric[ClassPrediction]):
    """Share of samples whose true class is among the five most probable ones; of equal probabilities the lower label comes first."""

    def __init__(self, info: ClassificationInfo, /) -> None:
        super().__init__()
        self.num_classes = len(info.classes)
        self.sums = {name: torch.zeros((), dtype=torch.int64) for name in ("right", "samples")}

    def update(self, prediction: ClassPrediction, truth: LabelTarget) -> None:
        """Take in a batch."""
        labels = truth.label[:, None]  # [B, 1]
        of_truth = prediction.probabilities.gather(1, labels)  # [B, 1]
        others = torch.arange(self.num_classes, device=labels.device)
        behind = (prediction.probabilities < of_truth) | ((prediction.probabilities == of_truth) & (others >= labels))  # [B, N]
        rank = (~behind).sum(dim=1)  # NaN is behind nobody, so that a broken model scores 0
        self.add("right", (rank < 5).sum())
        self.add("samples", torch.ones_like(truth.label).sum())

    def compute(self) -> Mapping[str, float | Undefined]:
        """`accuracy_top5`; with up to five classes it says nothing."""
        if self.num_classes <= 5:
            return {"accuracy_top5": Undefined(f"with {self.num_classes} classes top-5 is always right")}
        right, samples = self.sums["right"].item(), self.sums["samples"].item()
        return {"accuracy_top5": right / samples if samples else _NO_SAMPLES}


class F1Macro(Metric[ClassPrediction]):
    """Mean over the classes of F1, the harmonic mean of a class's precision and recall.

    As scikit-learn's `f1_score(average="macro")`: a class that is neither true nor predicted for any sample is left out;
    one that is true but never found, or found but never true, counts as 0.
    """

    def __init__(self, info: ClassificationInfo, /) -> None:
        super().__init__()
        self.num_classes = len(info.classes)
        self.sums = {name: torch.zeros(self.num_classes, dtype=torch.int64) for name in ("right", "predicted", "true")}

    def update(self, prediction: ClassPrediction, truth: LabelTarget) -> None:
        """Take in a batch."""
        predicted, ones = prediction.label, torch.ones_like(truth.label)
        self.add_at("right", truth.label, predicted == truth.label)
        self.add_at("predicted", predicted, ones)
        self.add_at("true", truth.label, ones)

    def compute(self) -> Mapping[str, float | Undefined]:
        """`f1_macro`."""
        either = self.sums["predicted"] + self.sums["true"]  # precision = right / predicted, recall = right / true: F1 = 2 right / either
        occurring = either > 0
        f1 = 2 * self.sums["right"][occurring].double() / either[occurring].double()
        return {"f1_macro": f1.mean().item() if len(f1) else _NO_SAMPLES}

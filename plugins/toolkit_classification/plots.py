"""Pictures of a classification's results: confusion matrix, predictions, accuracy per class."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Ge
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from toolkit.evaluation.evaluation import Evaluation
from toolkit.reporting.figures import SEQUENTIAL
from toolkit_classification.types import ClassificationInfo, ClassPrediction

_RIGHT, _WRONG, _BAR = "#187a3e", "#be1e2d", "#4878a8"
_NUMBERED_CLASSES = 25  # with more, the counts in the confusion matrix would be too small to read
_NAMED_CLASSES = 120
_SHOWN_BARS = 40


class ConfusionMatrix:
    """How often each class was taken for each other: counts, coloured by their share of the true class."""

    def __init__(self, info: ClassificationInfo, /) -> None:
        self.classes = info.classes

    def __call__(self, evaluation: Evaluation[ClassPrediction]) -> Figure:
        """Rows: the true class; columns: the predicted one."""
        num_classes = len(self.classes)
        counts = _confusion(evaluation, num_classes)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # a class without samples stays empty
        names = [_short(name, 24) for name in self.classes]
        longest = max(map(len, names))
        side = min(2.0 + 0.42 * num_classes, 12.0)
        figure = Figure(figsize=(1.1 * side + 1.7 + 0.08 * longest, side + 0.9 + 0.06 * longest), layout="constrained")
        axes = figure.add_subplot()
        picture = axes.imshow(shares, cmap=SEQUENTIAL, norm=PowerNorm(0.5, vmin=0, vmax=1))  # square root: 3 % of confusion can be seen
        figure.colorbar(picture, ax=axes, label="share of the true class", fraction=0.046, pad=0.02, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
        axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix ({evaluation.split}, {counts.sum():,} samples)")
        if num_classes <= _NAMED_CLASSES:
            size = min(9.0, 0.65 * 72 * side / num_classes)
            axes.set_xticks(range(num_classes), names, rotation=90 if num_classes > 2 else 0, size=size, parse_math=False)
            axes.set_yticks(range(num_classes), names, size=size, parse_math=False)
        else:
            axes.set(xticks=[], yticks=[])
        if num_classes <= _NUMBERED_CLASSES:
            for (row, column), count in np.ndenumerate(counts):
                color = "white" if shares[row, column] > 0.3 else "0.25" if count else "0.75"
                axes.text(column, row, f"{count}", ha="center", va="center", size=8 if num_classes <= 12 else 6.5, color=color)
        return figure


class PredictionGrid:
    """Pictures with what was said about them: first the mistakes the model was surest of, then random right ones.

    Args:
        count: pictures shown; three fifths of them are mistakes, where there are as many, more where there are not enough right ones.
        seed: which of the right ones.
    """

    def __init__(self, info: ClassificationInfo, /, *, count: Annotated[int, Ge(1)] = 25, seed: Annotated[int, Ge(0)] = 0) -> None:
        self.classes = info.classes
        self.count = count
        self.seed = seed

    def __call__(self, evaluation: Evaluation[ClassPrediction]) -> Figure:
        """Green: right; red: wrong, with the true class."""
        predicted, truth = evaluation.predictions.label.numpy(), evaluation.truths.label.numpy()
        probability = evaluation.predictions.probabilities.amax(dim=1).numpy()
        wrong, right = self._chosen(predicted == truth, probability)
        shown = [*wrong, *right]
        columns = max(1, round(np.sqrt(len(shown))))
        rows = max(1, -(-len(shown) // columns))
        figure = Figure(figsize=(max(1.65 * columns + 0.3, 3.6), 1.95 * rows + 0.9), layout="constrained")
        figure.suptitle(_grid_title(evaluation.split, len(wrong), len(right), predicted == truth, wide=columns >= 5), size=10)
        for place, index in enumerate(shown):
            axes = figure.add_subplot(rows, columns, place + 1)
            image = evaluation.image(index)
            nearest = max(image.shape[:2]) < 100
            axes.imshow(
                image.squeeze(2) if image.shape[2] == 1 else image,
                cmap="gray", vmin=0, vmax=255, interpolation="nearest" if nearest else "antialiased",
            )  # fmt: skip
            is_right = predicted[index] == truth[index]
            answer = f"{_short(self.classes[predicted[index]])} {_percent(probability[index])}"
            lines = f"\n{answer}" if is_right else f"{answer}\ntruth: {_short(self.classes[truth[index]])}"
            axes.set_title(lines, size=8, color=_RIGHT if is_right else _WRONG, pad=3, parse_math=False)
            axes.set_axis_off()
        return figure

    def _chosen(self, is_right: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> tuple[list[int], list[int]]:
        wrong = np.flatnonzero(~is_right)
        wrong = wrong[np.argsort(-probability[wrong], kind="stable")]
        right = np.random.default_rng(self.seed).permutation(np.flatnonzero(is_right))
        num_wrong = min(len(wrong), max(-(-self.count * 3 // 5), self.count - len(right)))
        return wrong[:num_wrong].tolist(), right[: self.count - num_wrong].tolist()


class PerClassAccuracy:
    """Accuracy of each class as a bar, the worst on top, with the accuracy over all samples as a line."""

    def __init__(self, info: ClassificationInfo, /) -> None:
        self.classes = info.classes

    def __call__(self, evaluation: Evaluation[ClassPrediction]) -> Figure:
        """With more than 40 classes only the 40 worst are shown; classes without samples are named below."""
        counts = _confusion(evaluation, len(self.classes))
        samples, right = counts.sum(axis=1), counts.diagonal()
        present = np.flatnonzero(samples)
        accuracy = right[present] / samples[present]
        order = np.argsort(accuracy, kind="stable")[:_SHOWN_BARS]
        labels, values = present[order], accuracy[order]
        figure = Figure(figsize=(7.0, 1.4 + 0.27 * max(len(labels), 3)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(range(len(labels)), values, color=_BAR, height=0.72)
        for place, label in enumerate(labels):
            axes.text(1.01, place, f"{values[place]:.1%}  ({right[label]:,} of {samples[label]:,})", va="center", size=8, color="0.25")
        axes.set_yticks(range(len(labels)), [_short(self.classes[label], 28) for label in labels], size=9, parse_math=False)
        axes.set(xlim=(0, 1), ylim=(max(len(labels), 1) - 0.4, -0.6), xlabel="accuracy")
        axes.spines[["top", "right"]].set_visible(False)
        shown = f": the {len(labels)} worst of {len(present)}" if len(labels) < len(present) else ""
        title = f"Accuracy per class ({evaluation.split}){shown}"
        if len(present):
            total = right.sum() / samples.sum()
            axes.axvline(total, color="0.2", linestyle="--", linewidth=1)
            title += f"\ndashed: all samples, {total:.1%}"
        axes.set_title(title, size=10)
        absent = [name for name, number in zip(self.classes, samples, strict=True) if not number]
        if absent:
            axes.set_xlabel(_short(f"accuracy (no samples of: {', '.join(absent)})", 90), parse_math=False)
        return figure


def _confusion(evaluation: Evaluation[Any], num_classes: int) -> npt.NDArray[np.int64]:
    """[N, N] counts: rows are the truth, columns the prediction."""
    truth, predicted = evaluation.truths.label.numpy(), evaluation.predictions.label.numpy()
    return np.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def _grid_title(split: str, wrong: int, right: int, is_right: npt.NDArray[np.bool_], *, wide: bool) -> str:
    all_wrong = len(is_right) - is_right.sum()
    mistakes = f"{wrong:,} of {all_wrong:,} mistakes, the surest first" if all_wrong else "no mistakes"
    sep = " " if wide else "\n"
    return f"Predictions ({split}):{sep}{mistakes};{sep}{right:,} of {is_right.sum():,} right ones at random"


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability < 0.995 else ">99%"


def _short(text: str, length: int = 15) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

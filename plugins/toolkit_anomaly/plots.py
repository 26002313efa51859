"""Pictures of an anomaly detector's results: defects row by row, threshold sweeps, histograms of scores."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from toolkit.data.tree import select
from toolkit.evaluation.evaluation import Evaluation
from toolkit.reporting.figures import BLUE, INK, MUTED, ORANGE, PALETTE, new_figure
from toolkit_anomaly.metrics import with_known_mask
from toolkit_anomaly.score_bins import NUM_BINS, bin_of, upper_edges
from toolkit_anomaly.task import outline
from toolkit_anomaly.types import GOOD, AnomalyInfo, AnomalyPrediction

MEASURES = ("recall", "precision", "pixel_accuracy")
MEASURE_NAMES = {"recall": "recall", "precision": "precision", "pixel_accuracy": "share of pixels right"}
_FEWEST = 50
"""Pixels above a threshold from which on their precision is drawn; that of fewer leaps from pixel to pixel."""
_DECADE = 10.0


class DefectRows:
    """For each kind of picture some rows: input, reconstruction, map, mask and true mask, all in the file's pixels.

    Args:
        count: rows of each kind, evenly spread over its pictures.
    """

    def __init__(self, info: AnomalyInfo, /, *, count: Annotated[int, Ge(1)] = 2) -> None:
        self.info = info
        self.count = count

    def __call__(self, evaluation: Evaluation[AnomalyPrediction]) -> Figure:
        """The maps of all rows share one scale, from the lowest to the highest score shown; columns that nobody has are left out.

        The scale is a square root, which raises faint scores, where the highest is ten times the lowest or more.
        """
        rows = self._chosen(evaluation.truths.kind)
        reconstructs = evaluation.predictions.reconstruction.shape[1] > 0
        columns = ["input", *(["reconstruction"] if reconstructs else []), "map", "mask", *(["true mask"] if self.info.has_masks else [])]
        figure, axes = new_figure(len(rows), len(columns), width_in=1.7 * len(columns) + 0.9, height_in=1.72 * len(rows) + 0.9, grid=False)
        predictions = [select(evaluation.predictions, index) for index, _ in rows]
        darkest, brightest = min(float(one.scores.min()) for one in predictions), max(float(one.scores.max()) for one in predictions)
        root = brightest >= _DECADE * darkest
        scale = PowerNorm(0.5 if root else 1.0, vmin=darkest, vmax=brightest if brightest > darkest else darkest + 1)
        threshold = predictions[0].threshold
        marks = f"marked where the score is above {float(threshold):.3g}" if torch.isfinite(threshold) else "no threshold yet"
        span = f"maps from the lowest score shown, {darkest:.3g}, to the highest, {brightest:.3g}{' (square root)' if root else ''}"
        figure.suptitle(f"{evaluation.split}: {span}\n{marks}", size=9.5, color=INK)
        for place, axis in enumerate(axes):
            axis.set(xticks=[], yticks=[])
            if place < len(columns):
                axis.set_title(columns[place], size=9)
        for row, ((index, kind), one) in enumerate(zip(rows, predictions, strict=True)):
            line = axes[row * len(columns) : (row + 1) * len(columns)]
            self._draw_row(line, evaluation, index, one, scale)
            called = "defective" if one.defective else "good"
            line[0].set_ylabel(f"{self.info.kinds[kind]}\n(called {called})", size=8.5, color=INK, parse_math=False)
        return figure

    def _chosen(self, kinds: Tensor) -> list[tuple[int, int]]:
        """Index and kind of each row; defects first."""
        rows = []
        for kind in [*range(GOOD + 1, len(self.info.kinds)), GOOD]:
            of_kind = (kinds == kind).nonzero().flatten().tolist()
            shown = min(self.count, len(of_kind))
            rows += [(of_kind[(2 * n + 1) * len(of_kind) // (2 * shown)], kind) for n in range(shown)]
        return rows

    def _draw_row(
        self, line: list[Axes], evaluation: Evaluation[AnomalyPrediction], index: int, one: AnomalyPrediction, scale: PowerNorm
    ) -> None:
        image = np.broadcast_to(evaluation.image(index), (*evaluation.image(index).shape[:2], 3))
        height, width = image.shape[:2]
        pictures: list[tuple[Any, dict[str, Any]]] = [(image, {})]
        if one.reconstruction.shape[0]:
            rebuilt = one.reconstruction.permute(1, 2, 0).numpy()
            pictures.append((np.broadcast_to(rebuilt, (*rebuilt.shape[:2], 3)), {}))
        pictures.append((one.map_in_file(height, width).numpy(), {"cmap": "inferno", "norm": scale}))
        mask = one.mask_in_file(height, width)
        pictures.append((_over(image, mask), {}))
        if self.info.has_masks:
            regions = evaluation.truths.regions[index]
            known = regions[..., 0] > 0 if regions.shape[-1] else torch.zeros(height, width, dtype=torch.bool)
            pictures.append((known.numpy(), {"cmap": "gray", "vmin": 0, "vmax": 1}))
        for axis, (picture, style) in zip(line, pictures, strict=True):
            axis.imshow(picture, interpolation="antialiased", **style)


class ThresholdSweep:
    """Recall, precision and share of right pixels over the threshold, one line per kind of defect; the chosen threshold dashed."""

    def __init__(self, info: AnomalyInfo, /) -> None:
        self.info = info

    def __call__(self, evaluation: Evaluation[AnomalyPrediction]) -> Figure:
        """Thresholds from the lowest scores but 5 % of good pixels to the highest of a defective one; without masks the figure says so.

        Precision ends where fewer than 50 pixels are above the threshold.
        """
        positives, negatives = _histograms(evaluation, len(self.info.kinds))
        if not positives.sum():
            no_masks = "nothing to sweep over" if self.info.has_masks else "there are no masks"
            reason = no_masks if (evaluation.truths.kind != GOOD).any() else "there are no defective pictures"
            return _nothing(f"no defective pixel is known: {reason}")
        figure, axes = new_figure(1, 3, width_in=12.5, height_in=3.9)
        edges = upper_edges().numpy()
        span = _span(positives, negatives)
        for kind in range(GOOD + 1, len(self.info.kinds)):
            if not positives[kind].sum():
                continue
            curves = _curves(positives[kind], negatives[kind])
            for axis, measure in zip(axes, MEASURES, strict=True):
                axis.plot(edges[span], curves[measure][span], color=PALETTE[(kind - 1) % len(PALETTE)], label=self.info.kinds[kind])
        chosen = float(evaluation.predictions.threshold[0]) if len(evaluation.predictions.threshold) else float("inf")
        for axis, measure in zip(axes, MEASURES, strict=True):
            if np.isfinite(chosen):
                axis.axvline(chosen, color=MUTED, linestyle="--", linewidth=1)
            axis.set(xlabel="threshold", ylim=(-0.02, 1.02), title=MEASURE_NAMES[measure], xscale="log")
            _few_log_ticks(axis)
        axes[0].legend(frameon=False, fontsize=8.5, loc="lower left")  # recall is 1 there; to look for the best place takes a second
        return figure


class ScoreHistograms:
    """How the scores of good and defective pictures lie, and those of good and defective pixels; thresholds dashed."""

    def __init__(self, info: AnomalyInfo, /) -> None:
        self.info = info

    def __call__(self, evaluation: Evaluation[AnomalyPrediction]) -> Figure:
        """Shares of each group, so that groups of different sizes can be compared; pixels only where masks are known.

        The axis of pictures is logarithmic where the highest score is ten times the lowest positive one or more; that of pixels always is.
        """
        positives, negatives = _histograms(evaluation, len(self.info.kinds))
        with_pixels = bool(positives.sum())
        figure, axes = new_figure(1, 1 + with_pixels, width_in=5.4 * (1 + with_pixels), height_in=3.5)
        scores, kinds = evaluation.predictions.image_score, evaluation.truths.kind
        groups = {"good": scores[kinds == GOOD].numpy(), "defective": scores[kinds != GOOD].numpy()}
        steps = _picture_steps(scores, axes[0])
        for (name, values), color in zip(groups.items(), (BLUE, ORANGE), strict=True):
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                axes[0].hist(
                    values.clip(steps[0], steps[-1]), steps, weights=weights, color=color, alpha=0.6, label=f"{name} ({len(values)})"
                )
        axes[0].set(xlabel="score of the picture", ylabel="share", title=f"Pictures ({evaluation.split})")
        _dashed(axes[0], evaluation.predictions.image_threshold)
        if axes[0].get_xscale() == "log":
            _few_log_ticks(axes[0])
        if with_pixels:
            _pixel_histogram(axes[1], positives.sum(axis=0), negatives.sum(axis=0), evaluation.predictions.threshold)
        for axis in axes:
            axis.legend(frameon=False, fontsize=8.5, loc="best")  # said in words, or matplotlib warns on a busy machine that it took long
        return figure


def _picture_steps(scores: Tensor, axes: Axes) -> list[float]:
    """The limits of 25 bars, evenly spaced on the axis, which becomes logarithmic where the scores span a decade or more."""
    positive = scores[scores > 0]
    lowest, highest = float(scores.min()), float(scores.max())
    if len(positive) and highest >= _DECADE * float(positive.min()):
        axes.set_xscale("log")
        return [float(step) for step in np.geomspace(float(positive.min()), highest, 26)]
    return [float(step) for step in np.linspace(lowest, max(highest, lowest + 1e-6), 26)]


def _pixel_histogram(axes: Axes, positives: Any, negatives: Any, threshold: Tensor) -> None:
    edges = upper_edges().numpy()
    span = _span(positives[None], negatives[None], lowest=0.001)
    steps = np.geomspace(edges[span][0], edges[span][-1], 61).tolist()
    for counts, name, color in ((negatives, "good", BLUE), (positives, "defective", ORANGE)):
        weights = counts / counts.sum()
        axes.hist(edges, steps, weights=weights, color=color, alpha=0.6, label=f"{name} ({counts.sum():,})")
    axes.set(xlabel="score of the pixel", ylabel="share", xscale="log", title="Pixels")
    _dashed(axes, threshold)
    _few_log_ticks(axes)


def _histograms(evaluation: Evaluation[AnomalyPrediction], kinds: int) -> tuple[Any, Any]:
    """[kinds, NUM_BINS] counts of defective and of good pixels in pictures of each kind."""
    positives, negatives = (np.zeros((kinds, NUM_BINS), np.int64) for _ in range(2))
    for index, one, regions in with_known_mask(evaluation.predictions, evaluation.truths):
        kind, bins, defect = int(evaluation.truths.kind[index]), bin_of(one.map_in_file(*regions.shape)), regions > 0
        positives[kind] += torch.bincount(bins[defect], minlength=NUM_BINS).numpy()
        negatives[kind] += torch.bincount(bins[~defect], minlength=NUM_BINS).numpy()
    return positives, negatives


def _curves(positives: Any, negatives: Any) -> dict[str, Any]:
    """[NUM_BINS] each measure at the upper edge of every bin; precision is NaN where fewer than `_FEWEST` pixels are above."""
    tp, fp = (counts.sum() - counts.cumsum() for counts in (positives, negatives))
    precision = tp / np.where(tp + fp >= _FEWEST, tp + fp, np.nan)
    accuracy = (tp + negatives.sum() - fp) / (positives.sum() + negatives.sum())
    return {"recall": tp / positives.sum(), "precision": precision, "pixel_accuracy": accuracy}


def _span(positives: Any, negatives: Any, lowest: float = 0.05) -> slice:
    """The bins from where the share `lowest` of the good pixels is below to the highest defective one."""
    good = negatives.sum(axis=0).cumsum()
    first = int(np.searchsorted(good, lowest * good[-1])) if good[-1] else 0
    last = int(np.flatnonzero(positives.sum(axis=0))[-1])
    return slice(min(first, max(last - 1, 0)), last + 2)


def _over(image: Any, mask: Tensor) -> Any:
    """The picture, greyed, with marked pixels orange and their outline bright."""
    grey = np.repeat(image.mean(axis=2, keepdims=True) * 0.6, 3, axis=2)
    grey[mask.numpy()] = 0.5 * grey[mask.numpy()] + 0.5 * np.array([213, 94, 0])
    grey[outline(mask).numpy()] = (255, 160, 60)
    return grey.astype(np.uint8)


def _dashed(axes: Axes, threshold: Tensor) -> None:
    if len(threshold) and torch.isfinite(threshold[0]):
        axes.axvline(float(threshold[0]), color=MUTED, linestyle="--", linewidth=1)


def _few_log_ticks(axes: Axes) -> None:
    """0.01, 0.02, 0.05, 0.1 instead of powers of ten; fewer of them the more decades there are, so that no two labels touch."""
    low, high = axes.get_xlim()
    decades = math.log10(high / low)
    if decades < 0.6:  # such as 2.3 to 2.6, where none of 1, 2 and 5 may lie
        axes.xaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.6 else (1.0, 3.0) if decades < 3.2 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _nothing(reason: str) -> Figure:
    figure, (axes,) = new_figure(width_in=5.2, height_in=1.6, grid=False)
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", color=MUTED, transform=axes.transAxes, wrap=True)
    return figure

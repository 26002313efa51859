"""Loss and score curves from the rows of metrics.jsonl."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from toolkit.reporting.figures import BLUE, INK, MUTED, ORANGE, PURPLE, new_figure, save_figure, whole_number_ticks

_SPLITS = {"train": ("training", BLUE, "--"), "val": ("validation", ORANGE, "-")}
_LOG_RATIO = 100.0
_MARKED_EPOCHS = 20


@dataclass(frozen=True)
class _Curve:
    """One metric over the epochs; `points` by split, each (epoch, value)."""

    metric: str
    points: Mapping[str, Sequence[tuple[int, float]]]


def plot_curves(rows: Sequence[Mapping[str, Any]], out_dir: Path, *, best_epoch: int | None = None) -> list[Path]:
    """Draw every metric that has no parts: `curves.png` with all of them, and `curve_<metric>.png` for each.

    Args:
        rows: of metrics.jsonl, with "epoch", "phase" and "train/<metric>", "val/<metric>"; scores of parts
            (val/accuracy/cat) are left out, and epochs without a score leave no point.
        best_epoch: the epoch that was chosen, which is marked; None marks nothing.

    Returns: the files, `curves.png` first; none where there is nothing to draw.
    Raises: ResourceError if they cannot be written.
    """
    curves = _curves(rows)
    if not curves:
        return []
    phases = _phases(rows)
    files = [out_dir / "curves.png", *(out_dir / f"curve_{_file_name(curve.metric)}.png" for curve in curves)]
    rates = [(int(row["epoch"]), float(row["lr"])) for row in rows if "lr" in row]
    panels = len(curves) + bool(rates)
    columns = 1 if panels == 1 else 2 if panels in (2, 4) else 3
    figure, all_axes = new_figure(math.ceil(panels / columns), columns)
    for axes, curve in zip(all_axes, curves, strict=False):
        _draw(axes, curve, phases, best_epoch)
    if rates:
        _draw_rates(all_axes[len(curves)], rates, phases)
    for axes in all_axes[panels:]:
        axes.set_visible(False)
    save_figure(figure, files[0])
    for curve, file in zip(curves, files[1:], strict=True):
        figure, (axes,) = new_figure()
        _draw(axes, curve, phases, best_epoch)
        save_figure(figure, file)
    return files


def _curves(rows: Sequence[Mapping[str, Any]]) -> list[_Curve]:
    """Loss first, the others in the order of the rows."""
    metrics: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        for name, value in row.items():
            split, _, metric = name.partition("/")
            if split in _SPLITS and metric and "/" not in metric:
                metrics.setdefault(metric, {}).setdefault(split, []).append((int(row["epoch"]), float(value)))
    return [_Curve(metric, metrics[metric]) for metric in sorted(metrics, key=lambda metric: metric != "loss")]


def _phases(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """(name, first epoch, last epoch) of each stretch of rows with one phase."""
    phases = []
    for name, group in groupby(rows, key=lambda row: str(row.get("phase", ""))):
        epochs = [int(row["epoch"]) for row in group]
        phases.append((name, epochs[0], epochs[-1]))
    return phases


def _draw(axes: Axes, curve: _Curve, phases: Sequence[tuple[str, int, int]], best_epoch: int | None) -> None:
    values = [value for points in curve.points.values() for _, value in points]
    falls = all(
        points[-1][1] < points[0][1] for points in curve.points.values()
    )  # a share that rises from near 0 is read on a linear scale
    if falls and min(values) > 0 and max(values) / min(values) > _LOG_RATIO:
        axes.set_yscale("log")
    for split, (label, color, line) in _SPLITS.items():
        if points := curve.points.get(split):
            epochs, heights = zip(*points, strict=True)
            marker = "o" if len(points) <= _MARKED_EPOCHS else None
            axes.plot(epochs, heights, line, label=label, color=color, linewidth=1.8, marker=marker, markersize=3.5)
    _mark_best(axes, curve, best_epoch)
    _finish(axes, curve.metric, phases)
    axes.legend(fontsize=9, labelcolor=INK, edgecolor="none", facecolor="white", framealpha=0.8)


def _draw_rates(axes: Axes, rates: Sequence[tuple[int, float]], phases: Sequence[tuple[str, int, int]]) -> None:
    epochs, heights = zip(*rates, strict=True)
    marker = "o" if len(rates) <= _MARKED_EPOCHS else None
    axes.plot(epochs, heights, color=PURPLE, linewidth=1.8, marker=marker, markersize=3.5)
    _finish(axes, "learning rate", phases)


def _mark_best(axes: Axes, curve: _Curve, best_epoch: int | None) -> None:
    best = [value for epoch, value in curve.points.get("val", ()) if epoch == best_epoch]
    if best_epoch is None or not best:
        return
    axes.axvline(best_epoch, color=MUTED, linewidth=0.9, linestyle=":")
    label = f"chosen: epoch {best_epoch}, {best[0]:.4g}"
    axes.plot(
        [best_epoch], best, "o", color=ORANGE, markersize=8, markeredgecolor="white", markeredgewidth=1.5, label=label, linestyle="none"
    )


def _finish(axes: Axes, title: str, phases: Sequence[tuple[str, int, int]]) -> None:
    """Title, epochs and, where there are several phases, a band for every second one and their names."""
    pad = 16 if len(phases) > 1 else 6  # points; room for the names of the phases
    axes.set_title(title, loc="left", color=INK, size=11, weight="bold", pad=pad)
    axes.set_xlabel("epoch")
    whole_number_ticks(axes)
    if len(phases) < 2:
        return
    axes.set_xlim(phases[0][1] - 0.5, phases[-1][2] + 0.5)
    for index, (name, first, last) in enumerate(phases):
        if index % 2:
            axes.axvspan(first - 0.5, last + 0.5, color="#f3f4f6", linewidth=0, zorder=0)
        place = ((first + last) / 2, 1.0)
        axes.annotate(
            name,
            place,
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            size=8,
            color=MUTED,
        )


def _file_name(metric: str) -> str:
    """
    >>> _file_name("pdj@0.2"), _file_name("top 5%")
    ('pdj@0.2', 'top_5_')
    """
    return re.sub(r"[^\w.@+-]", "_", metric)

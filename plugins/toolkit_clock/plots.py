"""Pictures of a clock reader's results: error histogram, hour confusion, error by time, worst cases, ten predictions."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Ge
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from toolkit.evaluation.evaluation import Evaluation
from toolkit.reporting.figures import BLUE, GREEN, INK, MUTED, ORANGE, SEQUENTIAL, new_figure
from toolkit_clock.types import ClockInfo, TimePrediction, circular_error_min, clock_text

Integers = npt.NDArray[np.int64]
ClockEvaluation = Evaluation[TimePrediction]

_BINS = ((0, 0), (1, 1), (2, 2), (3, 5), (6, 10), (11, 29), (30, 59), (60, 89), (90, 360))
_ABOVE_TABLE_IN = 0.5
_COLUMNS_EXPLAINED = (
    "read: both hands together; expected: the error that the network itself expects; sure: its probability of this time; "
    "read apart: each hand by itself"
)
_ID_LENGTH = 22
_WRONG = "#be1e2d"


class ErrorHistogram:
    """How many minutes the readings are off, joint decoding beside each hand read by itself; the gross errors are on the right."""

    def __init__(self, info: ClockInfo, /) -> None:
        pass

    def __call__(self, evaluation: ClockEvaluation) -> Figure:
        """Counts above the bars; the height is their square root, so that single errors can be seen."""
        figure, (axes,) = new_figure(width_in=7.2, height_in=3.8)
        readings = {"joint": (_errors(evaluation), BLUE), "independent": (_errors(evaluation, independent=True), ORANGE)}
        for number, (name, (errors, color)) in enumerate(readings.items()):
            counts = [int(((errors >= low) & (errors <= high)).sum()) for low, high in _BINS]
            gross = int((errors >= 30).sum())
            places = np.arange(len(_BINS)) + 0.4 * number - 0.2
            mean = f"{errors.mean():.2f} min, " if len(errors) else ""
            axes.bar(places, np.sqrt(counts), width=0.38, color=color, label=f"{name}: mean {mean}{gross:,} of 30 min or more")
            for place, count in zip(places, counts, strict=True):
                axes.text(place, np.sqrt(count), f"{count:,}", ha="center", va="bottom", size=7, color=INK)
        axes.set_xticks(range(len(_BINS)), [str(low) if low == high else f"{low}-{high}" for low, high in _BINS])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.margins(y=0.3)  # room for the legend over the bars
        axes.set(xlabel="error in minutes", ylabel="samples (square root)", title=f"Common-sense error ({_counted(evaluation)})")
        axes.legend(frameon=False, fontsize=8.5, loc="upper right")
        return figure


class HourConfusion:
    """How often each hour was read as each other, by joint decoding and by the hour alone."""

    def __init__(self, info: ClockInfo, /) -> None:
        pass

    def __call__(self, evaluation: ClockEvaluation) -> Figure:
        """Rows: the true hour; columns: the one read. Colour: share of the true hour."""
        figure, both = new_figure(1, 2, width_in=9.6, height_in=4.9, grid=False)
        for axes, name, independent in zip(both, ("joint", "independent"), (False, True), strict=True):
            true, read = evaluation.truths.time_min.numpy() // 60, _read(evaluation, independent) // 60
            counts = np.bincount(true * 12 + read, minlength=144).reshape(12, 12)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap=SEQUENTIAL, norm=PowerNorm(0.5, vmin=0, vmax=1))
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    color = "white" if shares[row, column] > 0.3 else INK
                    axes.text(column, row, f"{count}", ha="center", va="center", size=7, color=color)
            hours = [str(hour or 12) for hour in range(12)]
            axes.set_xticks(range(12), hours)
            axes.set_yticks(range(12), hours)
            right = counts.trace() / max(counts.sum(), 1)
            axes.set(xlabel="hour read", ylabel="true hour", title=f"{name}: {right:.2%} right")
        figure.suptitle(f"Hours ({_counted(evaluation)})", size=11, weight="bold", color=INK)
        return figure


class ErrorByTime:
    """Mean error over the minute of the hour, where the hands' coupling shows, and over the half day by quarters of an hour."""

    def __init__(self, info: ClockInfo, /) -> None:
        pass

    def __call__(self, evaluation: ClockEvaluation) -> Figure:
        """Times without samples are left out."""
        figure, (by_minute, by_quarter) = new_figure(1, 2, width_in=10.4, height_in=3.4)
        true = evaluation.truths.time_min.numpy()
        for name, color, independent in (("independent", ORANGE, True), ("joint", BLUE, False)):
            errors = _errors(evaluation, independent=independent)
            for axes, group, step in ((by_minute, true % 60, 1.0), (by_quarter, true // 15, 0.25)):
                samples = np.bincount(group)
                present = np.flatnonzero(samples)
                means = np.bincount(group, weights=errors)[present] / samples[present]
                axes.plot(present * step, means, marker="o", markersize=3, linewidth=1.2, color=color, label=name)
        by_minute.set(xlabel="minute of the true time", ylabel="mean error in minutes", xlim=(-1, 60), xticks=range(0, 60, 5))
        by_quarter.set(xlabel="true time of the half day, by quarters of an hour", xlim=(-0.3, 12), xticks=range(12))
        by_quarter.set_xticklabels([str(hour or 12) for hour in range(12)])
        for axes in (by_minute, by_quarter):
            axes.set_ylim(bottom=0)
        by_minute.legend(frameon=False, fontsize=8.5, loc="upper center")
        figure.suptitle(f"Error by time ({_counted(evaluation)})", size=11, weight="bold", color=INK)
        return figure


class WorstCases:
    """The pictures with the largest errors, the largest first.

    Args:
        count: pictures shown.
    """

    def __init__(self, info: ClockInfo, /, *, count: Annotated[int, Ge(1)] = 24) -> None:
        self.count = count

    def __call__(self, evaluation: ClockEvaluation) -> Figure:
        """Of equal errors the surer comes first; right readings fill up where there are too few errors."""
        errors, sure = _errors(evaluation), evaluation.predictions.confidence.numpy()
        shown = np.lexsort((-sure, -errors))[: self.count].tolist()
        columns = min(6, max(1, len(shown)))
        rows = max(1, -(-len(shown) // columns))
        figure = Figure(figsize=(1.75 * columns + 0.3, 2.2 * rows + 0.6), layout="constrained", dpi=200)
        wrong = int((errors > 0).sum())
        figure.suptitle(f"Worst readings ({_counted(evaluation)}, {wrong:,} not exact)", size=10, color=INK)
        for place, index in enumerate(shown):
            axes = figure.add_subplot(rows, columns, place + 1)
            _show(axes, evaluation, index)
            read, true = (clock_text(int(times[index])) for times in (_read(evaluation), evaluation.truths.time_min))
            text = f"{read}, right" if errors[index] == 0 else f"{read}, truth {true}\n{errors[index]} min off"
            axes.set_title(text, size=7.5, color=GREEN if errors[index] == 0 else _WRONG, pad=3)
            axes.text(
                0.5,
                -0.02,
                _short(evaluation.ids[index]),
                transform=axes.transAxes,
                ha="center",
                va="top",
                size=5.5,
                color=MUTED,
                parse_math=False,
            )
        return figure


class TenPredictions:
    """A table of random samples: the picture, its time, both readings and what the network expects to be off by.

    Args:
        count: rows.
        seed: which samples.
    """

    def __init__(self, info: ClockInfo, /, *, count: Annotated[int, Ge(1)] = 10, seed: Annotated[int, Ge(0)] = 0) -> None:
        self.count = count
        self.seed = seed

    def __call__(self, evaluation: ClockEvaluation) -> Figure:
        """One row per sample."""
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(evaluation.ids))[: self.count])
        figure = Figure(figsize=(7.6, 0.62 * len(chosen) + 1.05), dpi=200)
        title = f"Random readings ({_counted(evaluation)})"
        figure.text(0.02, 1 - 0.12 / figure.get_figheight(), title, va="top", size=10, weight="bold", color=INK)
        figure.text(0.02, 1 - 0.31 / figure.get_figheight(), _COLUMNS_EXPLAINED, va="top", size=7, color=MUTED)
        table = figure.add_axes((0, 0, 1, 1 - _ABOVE_TABLE_IN / figure.get_figheight()))
        table.set(xlim=(0, 1), ylim=(len(chosen) + 0.05, -0.8))
        table.set_axis_off()
        columns = ("sample", "true", "read", "error", "expected", "sure", "read apart", "error")
        places = (0.13, 0.37, 0.47, 0.57, 0.68, 0.78, 0.89, 0.98)
        for name, place in zip(columns, places, strict=True):
            table.text(place, -0.4, name, ha="left" if name == "sample" else "right", va="center", size=8, color=MUTED)
        errors, apart = _errors(evaluation), _errors(evaluation, independent=True)
        prediction = evaluation.predictions
        for row, index in enumerate(chosen.tolist()):
            picture = figure.add_axes(_row_of(row, len(chosen), figure))
            _show(picture, evaluation, index)
            true, read, alone = (int(t[index]) for t in (evaluation.truths.time_min, prediction.time_min, prediction.independent_min))
            cells = (
                _short(evaluation.ids[index]), clock_text(true), clock_text(read), f"{errors[index]} min",
                f"{float(prediction.error_min_expected[index]):.1f} min", f"{float(prediction.confidence[index]):.0%}",
                clock_text(alone), f"{apart[index]} min",
            )  # fmt: skip
            for number, (text, place) in enumerate(zip(cells, places, strict=True)):
                is_wrong = (number in (2, 3) and errors[index]) or (number in (6, 7) and apart[index])
                align = "left" if number == 0 else "right"
                table.text(place, row + 0.5, text, ha=align, va="center", size=9, color=_WRONG if is_wrong else INK, parse_math=False)
        return figure


def _row_of(row: int, rows: int, figure: Figure) -> tuple[float, float, float, float]:
    """Where the picture of a table's row stands, in shares of the figure."""
    table, height = 1 - _ABOVE_TABLE_IN / figure.get_figheight(), rows + 0.85  # of the figure, in rows
    return 0.02, (rows + 0.05 - row - 0.96) / height * table, 0.09, 0.92 / height * table


def _read(evaluation: ClockEvaluation, independent: bool = False) -> Integers:
    predictions = evaluation.predictions
    read: Integers = (predictions.independent_min if independent else predictions.time_min).numpy()
    return read


def _errors(evaluation: ClockEvaluation, *, independent: bool = False) -> Integers:
    predictions: Any = evaluation.predictions
    read = predictions.independent_min if independent else predictions.time_min
    errors: Integers = circular_error_min(read, evaluation.truths.time_min).numpy()
    return errors


def _counted(evaluation: ClockEvaluation) -> str:
    return f"{evaluation.split}, {len(evaluation.ids):,} samples"


def _short(sample: str) -> str:
    """The end of a long id, which tells files apart."""
    return sample if len(sample) <= _ID_LENGTH else f"…{sample[1 - _ID_LENGTH :]}"


def _show(axes: Axes, evaluation: ClockEvaluation, index: int) -> None:
    image = evaluation.image(index)
    axes.imshow(image.squeeze(2) if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()

"""`diagnose_on_test`: the measures per epoch on test defects (experiment A5). It observes; nothing is chosen by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from toolkit.evaluation.evaluate import evaluate
from toolkit.extension import hookimpl
from toolkit.reporting.figures import PALETTE, new_figure, save_figure, whole_number_ticks
from toolkit_anomaly.metrics import PixelScores
from toolkit_anomaly.plots import MEASURE_NAMES, MEASURES
from toolkit_anomaly.task import AnomalyTask

_ROWS, _PLOT = "diagnose_on_test.jsonl", "diagnose_on_test.png"
_MARKED_EPOCHS = 40
"""With more of them marks would hide their line."""


@hookimpl
def toolkit_epoch_ended(run: Any, epoch: int, scores: Mapping[str, float]) -> None:
    """With `diagnose_on_test`, score the test part after the epoch, add a row to `diagnose_on_test.jsonl` and redraw the plot."""
    task = getattr(run, "task", None)
    if not isinstance(task, AnomalyTask) or not task.diagnose_on_test or run.folder is None or "test" not in run.loaders:
        return
    metrics = [metric for metric in run.metrics if isinstance(metric, PixelScores)]
    done = evaluate(run.model, run.loaders["test"], run.task, run.loss, metrics, run.runtime)
    earlier = [row for row in read_rows(run.folder / _ROWS) if row["epoch"] < epoch]  # a resumed run does its last epochs again
    rows = [*earlier, {"epoch": epoch, **{f"test/{name}": value for name, value in done.scores.items()}}]
    (run.folder / _ROWS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_figure(draw_epochs(rows, run.info.defects, metrics[0].thresholds if metrics else ()), run.folder / "plots" / _PLOT)


def read_rows(file: Path) -> list[dict[str, float]]:
    """The rows written so far; none if there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def draw_epochs(rows: list[dict[str, float]], defects: tuple[str, ...], thresholds: tuple[float, ...]) -> Figure:
    """The three measures over the epochs, one line per kind of defect, at the middle one of the thresholds."""
    threshold = thresholds[len(thresholds) // 2] if thresholds else 0.0
    figure, axes = new_figure(1, 3, width_in=12.5, height_in=3.9)
    figure.suptitle(f"On TEST pictures, for diagnosis only (diagnose_on_test): threshold {threshold:g}", size=10)
    for axis, measure in zip(axes, MEASURES, strict=True):
        for number, defect in enumerate(defects):
            points = [(row["epoch"], row[name]) for row in rows if (name := f"test/{measure}@{threshold:g}/{defect}") in row]
            epochs, values = [epoch for epoch, _ in points], [value for _, value in points]
            axis.plot(
                epochs, values, color=PALETTE[number % len(PALETTE)], marker="." if len(rows) <= _MARKED_EPOCHS else None, label=defect
            )
        axis.set(xlabel="epoch", ylim=(-0.02, 1.02), title=MEASURE_NAMES[measure])
        whole_number_ticks(axis)
    axes[0].legend(frameon=False, fontsize=8.5, loc="lower right")
    return figure

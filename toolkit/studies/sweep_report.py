"""A study told as a table and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from toolkit.reporting.figures import BLUE, INK, ORANGE, PURPLE, new_figure, save_figure, whole_number_ticks
from toolkit.studies.sweep_file import Range, Sweep
from toolkit.studies.table import Seconds, Table, Value

FOLDER = "folder"
"""The attribute of a trial that says where it runs: machine:folder."""
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "under way", "WAITING": "waiting"}
_MOST_SLICES = 7
_LONG_LABEL = 8


def study_table(sweep: Sweep, trials: Sequence[Any], best: str | None) -> Table:
    """The trials, best first; those without a final number below, in order.

    Args:
        trials: Optuna's frozen trials.
        best: the command of the best one.
    """
    sign = -1 if sweep.direction == "maximize" else 1
    ordered = sorted(trials, key=lambda trial: (_value(trial) is None, sign * (_value(trial) or 0.0), trial.number))
    rows: list[list[Value]] = [
        [
            f"{trial.number:04d}",
            _value(trial),
            *(trial.params.get(path) for path in sweep.space),
            len(trial.intermediate_values),
            Seconds(trial.duration.total_seconds()) if trial.duration else None,
            _STATES[trial.state.name],
        ]
        for trial in ordered
    ]
    counts = [f"{sum(_STATES[t.state.name] == word for t in trials)} {word}" for word in dict.fromkeys(_STATES.values())]
    facts = {
        "Config": sweep.config.name,
        "Search": f"{sweep.sampler.name}, pruner {sweep.pruner.name}, {sweep.direction} {sweep.metric}",
        "Trials": ", ".join(text for text in counts if not text.startswith("0 ")),
        **({"Best": best} if best else {}),
    }
    notes = [f"trial {trial.number}: {trial.user_attrs['reason']}" for trial in trials if "reason" in trial.user_attrs]
    notes += [_under_way(trial) for trial in trials if trial.state.name == "RUNNING"]
    if sweep.stand_in:
        notes.append(f"with --synthetic all trials are of {sweep.stand_in}; the sweep's settings of data are left out")
    notes.append("Trials are judged on validation data; test data were not read.")
    return Table(sweep.path.stem, ["trial", sweep.metric, *sweep.space, "epochs", "time (s)", "state"], rows, facts, notes)


def draw_study(sweep: Sweep, trials: Sequence[Any], path: Path) -> bool:
    """The scores by trial with the best so far, the course of every trial, and the scores over each option. False without a number."""
    finished = [trial for trial in trials if _value(trial) is not None]
    if not finished:
        return False
    options = list(sweep.space)[:_MOST_SLICES]
    panels = 2 + len(options)
    columns = min(3, panels)
    figure, all_axes = new_figure(math.ceil(panels / columns), columns)
    _draw_history(all_axes[0], sweep, finished)
    _draw_courses(all_axes[1], trials, best=_best(sweep, finished))
    for axes, option in zip(all_axes[2:], options, strict=False):
        _draw_slice(axes, sweep, option, finished)
    for axes, title in zip(all_axes, ["trials", "course of each trial", *options], strict=False):
        axes.set_title(title, loc="left", color=INK, size=11, weight="bold")
        axes.set_ylabel(sweep.metric)
    for axes in all_axes[panels:]:
        axes.set_visible(False)
    save_figure(figure, path)
    return True


def _under_way(trial: Any) -> str:
    """Optuna keeps no sign of life of trials that are asked for one by one, so a dead machine's looks like any other."""
    return (
        f"trial {trial.number} is under way, or was when its process ended, in {trial.user_attrs.get(FOLDER, 'a folder nobody noted')}; "
        "the same command there goes on with it, and where that is lost, raise 'trials' by one to make up for it"
    )


def _value(trial: Any) -> float | None:
    """The final score of a finished trial; a pruned one has none, though Optuna keeps its last."""
    return float(trial.value) if trial.state.name == "COMPLETE" else None


def _best(sweep: Sweep, finished: Sequence[Any]) -> Any:
    return (max if sweep.direction == "maximize" else min)(finished, key=lambda trial: trial.value)


def _draw_history(axes: Axes, sweep: Sweep, finished: Sequence[Any]) -> None:
    choose = max if sweep.direction == "maximize" else min
    values = [trial.value for trial in finished]
    numbers = [trial.number for trial in finished]
    axes.plot(numbers, values, "o", color=BLUE, markersize=4)
    axes.step(numbers, [choose(values[: end + 1]) for end in range(len(values))], where="post", color=ORANGE, label="best so far")
    axes.set_xlabel("trial")
    whole_number_ticks(axes)
    axes.legend(fontsize=9, edgecolor="none", facecolor="white", framealpha=0.8)


def _draw_courses(axes: Axes, trials: Sequence[Any], best: Any) -> None:
    for trial in [*(trial for trial in trials if trial.number != best.number), best]:
        points = sorted(trial.intermediate_values.items())
        if points:
            color = ORANGE if trial is best else BLUE if trial.state.name == "COMPLETE" else PURPLE
            epochs, values = zip(*points, strict=True)
            axes.plot(epochs, values, color=color, linewidth=1.8 if trial is best else 1.0, marker="o", markersize=2.5)
    axes.set_xlabel("epoch (orange: best, blue: finished, pink: others)")
    whole_number_ticks(axes)


def _draw_slice(axes: Axes, sweep: Sweep, option: str, finished: Sequence[Any]) -> None:
    values = sweep.space[option]
    if isinstance(values, Range):
        axes.plot([trial.params[option] for trial in finished], [trial.value for trial in finished], "o", color=BLUE, markersize=4)
        axes.set_xscale("log" if values.log else "linear")
        axes.set_xlim(values.low, values.high)
        return
    labels = [choice.label for choice in values]
    places = [labels.index(trial.params[option]) for trial in finished]
    axes.plot(places, [trial.value for trial in finished], "o", color=BLUE, markersize=4)
    axes.set_xticks(range(len(labels)), labels)
    if max(map(len, labels)) > _LONG_LABEL:
        axes.tick_params("x", labelrotation=30)
    axes.set_xlim(-0.5, len(labels) - 0.5)

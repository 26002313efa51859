"""`compare`: several runs side by side, from their folders alone."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import safetensors
from matplotlib.axes import Axes

from toolkit.errors import ConfigError, DataError
from toolkit.reporting.figures import INK, MUTED, PALETTE, new_figure, save_figure, whole_number_ticks
from toolkit.reporting.files import read_jsonl
from toolkit.reporting.run_dir import RunDir
from toolkit.studies.table import Seconds, Table, Value, write_table

_MOST_PANELS = 6
_MARKED_EPOCHS = 20


@dataclass(frozen=True)
class _RunRead:
    """A run folder; results are empty where it has not finished, layers where it has no checkpoint."""

    name: str
    config: str
    command: str
    layers: str
    results: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    timings: Sequence[Mapping[str, Any]]


def compare(folders: Sequence[Path], *, out: Path, scores: Sequence[str] = ()) -> Path:
    """Write compare.md, .csv, .html and .png: scores, parameters, parameters per % of a score, times, and all curves on one figure.

    Args:
        folders: of runs, finished or not.
        scores: to show, the first being the one that parameters are divided by (where more of it is better); default all main test
            scores, the one that chose the epochs first.

    Returns: the page.
    Raises: ConfigError where a folder holds no run, or a score is one that no run has; DataError naming a damaged file.
    """
    if not folders:
        raise ConfigError("nothing to compare: name run folders, such as runs/*/latest")
    runs = _named([RunDir.open(folder) for folder in folders])
    known = list(dict.fromkeys(name for run in runs for name in run.results.get("scores", {})))
    for score in scores:
        if score not in known:
            raise ConfigError(f"no run has a score named '{score}'; there are: {', '.join(known) or 'none, as no run has finished'}")
    shown = list(scores) or _main_scores(runs, known)
    picture = out / "compare.png"
    drawn = _draw(runs, picture)
    _, _, page = write_table(_table(runs, shown), out, "compare", [picture] if drawn else [])
    return page


def _named(run_dirs: Sequence[RunDir]) -> list[_RunRead]:
    """The runs, each called by its config's name, with as much of its path as tells it from the others."""
    read = [(run_dir.results(), run_dir) for run_dir in run_dirs]
    configs = [str(results.get("config") or run_dir.path.absolute().name) for results, run_dir in read]
    folders = [run_dir.path.absolute().name for run_dir in run_dirs]
    names = [config if configs.count(config) == 1 else folder for config, folder in zip(configs, folders, strict=True)]
    names = [name if names.count(name) == 1 else str(run_dir.path) for name, run_dir in zip(names, run_dirs, strict=True)]
    return [
        _RunRead(
            name, config, _command(run_dir), _layers(run_dir), results, read_jsonl(run_dir.metrics_jsonl), read_jsonl(run_dir.timings_jsonl)
        )
        for name, config, (results, run_dir) in zip(names, configs, read, strict=True)
    ]


def _command(run_dir: RunDir) -> str:
    """What the run was started with, which tells runs of one config apart."""
    try:
        return str(json.loads(run_dir.environment_json.read_bytes()).get("command") or "")
    except (OSError, ValueError):
        return ""


def _layers(run_dir: RunDir) -> str:
    """How many layers with weights the newest network has, "5 conv + 3 dense", by the shapes in its checkpoint."""
    file = run_dir.checkpoints / "last" / "model.safetensors"
    if not file.exists():
        return ""
    try:
        with safetensors.safe_open(file, framework="numpy") as weights:
            dimensions = [len(weights.get_slice(name).get_shape()) for name in weights.keys()]  # noqa: SIM118  # it is no dict
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{file}: {error}; `toolkit resume {run_dir.path}` goes on from an older checkpoint") from error
    counts = {"conv": sum(count > 2 for count in dimensions), "dense": dimensions.count(2)}
    return " + ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _main_scores(runs: Sequence[_RunRead], known: Sequence[str]) -> list[str]:
    """Scores of the test part (others too where a finished run has none) as a whole, the one that chose the epochs first."""
    scored = [run.results["scores"] for run in runs if run.results]
    all_tested = all(any(name.startswith("test/") for name in scores) for scores in scored)
    tested = [name for name in known if name.startswith("test/") or not all_tested]
    chosen = {str(run.results["select"]["metric"]).partition("/")[2] for run in runs if run.results.get("select", {}).get("metric")}
    whole = [name for name in tested if name.count("/") == 1]
    return sorted(whole, key=lambda name: (name.endswith("/loss"), name.partition("/")[2] not in chosen))


def _table(runs: Sequence[_RunRead], scores: Sequence[str]) -> Table:
    first = scores[0] if scores else None
    if first and any(first.partition("/")[2] in run.results.get("lower_is_better", ["loss"]) for run in runs):
        first = None  # parameters per minute of error say nothing
    per_percent = [f"parameters per % of {first}"] if first else []
    columns = [
        "run",
        "data",
        "model",
        "layers",
        "parameters",
        *scores,
        *per_percent,
        "epochs",
        "time per epoch (s)",
        "time (s)",
        "device",
        "seed",
    ]
    rows: list[list[Value]] = []
    for run in runs:
        results, model = run.results, run.results.get("model", {})
        numbers: list[Value] = [results.get("scores", {}).get(score) for score in scores]
        share = [parameters_per_percent(model.get("parameters"), results.get("scores", {}).get(first))] if first else []
        rows.append(
            [
                run.name,
                _data(results),
                str(model.get("name", "")),
                run.layers,
                model.get("parameters"),
                *numbers,
                *share,
                len(run.metrics),
                _median_seconds(run.timings),
                Seconds(results["seconds"]) if "seconds" in results else None,
                ", ".join(str(results[key]) for key in ("device", "precision") if key in results),
                str(results.get("seed", "")),
            ]
        )
    notes = [f"{run.name} has not finished: {len(run.metrics)} epochs are done" for run in runs if not run.results]
    undefined = [(run.name, name, reason) for run in runs for name, reason in run.results.get("undefined", {}).items()]
    notes += [f"{run}: {name} has no number: {reason}" for run, name, reason in undefined if name in scores]
    notes += [f"{run.name}: {caveat}" for run in runs for caveat in run.results.get("caveats", ())]
    notes += _about_data([run.results["data"] for run in runs if run.results])
    notes += [f"{run.name}: {run.command}" for run in runs if run.command and [other.config for other in runs].count(run.config) > 1]
    notes.append("Time per epoch is the median, with validation and saving.")
    return Table("Comparison", columns, rows, notes=notes)


def _about_data(data: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is known to speak against comparing scores; a fingerprint is of prepared pictures, so another size alone changes it.

    Args:
        data: name, number of pictures by part, and fingerprint, per run; a run need not have read every part.

    >>> _about_data([{"name": "mnist", "test": 9, "fingerprint": "a"}, {"name": "mnist", "test": 8, "fingerprint": "b"}])
    ['These runs saw different data, so their scores do not compare.']
    """
    if len({each["fingerprint"] for each in data}) < 2:
        return []
    facts = dict.fromkeys(key for each in data for key in each if key != "fingerprint")
    if any(len({each[fact] for each in data if fact in each}) > 1 for fact in facts):
        return ["These runs saw different data, so their scores do not compare."]
    return ["These runs prepared their pictures differently (size, padding), or did not see the same ones: check before comparing scores."]


def _data(results: Mapping[str, Any]) -> str:
    return f"{results['data']['name']}{' (synthetic)' if results['synthetic'] else ''}" if results else ""


def parameters_per_percent(parameters: int | None, score: float | None) -> int | None:
    """What a percent of the score costs in parameters; None where the score is no share of 1.

    >>> parameters_per_percent(23_238_474, 0.8781), parameters_per_percent(1000, 1.89)
    (264645, None)
    """
    if parameters is None or score is None or not 0 < score <= 1:
        return None
    return round(parameters / (100 * score))


def _median_seconds(timings: Sequence[Mapping[str, Any]]) -> Seconds | None:
    return Seconds(statistics.median(row["seconds"] for row in timings)) if timings else None


def _draw(runs: Sequence[_RunRead], path: Path) -> bool:
    """One panel per main metric: a colour per run, validation solid, training dashed. False where there is nothing to draw."""
    names = dict.fromkeys(name.partition("/")[2] for run in runs for row in run.metrics for name in row if name.count("/") == 1)
    panels = sorted(names, key=lambda name: name != "loss")[:_MOST_PANELS]
    if not panels:
        return False
    columns = min(len(panels), 2 if len(panels) in (2, 4) else 3)
    rows = math.ceil(len(panels) / columns)
    legend_in = 0.22 * math.ceil((len(runs) + 2) / 3) + 0.2
    figure, all_axes = new_figure(rows, columns, width_in=max(6.0, 4.4 * columns), height_in=3.0 * rows + legend_in)
    colors = _colors(len(runs))
    for axes, metric in zip(all_axes, panels, strict=False):
        for run, color in zip(runs, colors, strict=True):
            _draw_curve(axes, run, metric, color)
        axes.set_title(metric, loc="left", color=INK, size=11, weight="bold")
        axes.set_xlabel("epoch")
        whole_number_ticks(axes)
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    handles = [all_axes[0].plot([], [], color=color, label=run.name)[0] for run, color in zip(runs, colors, strict=True)]
    handles += [all_axes[0].plot([], [], line, color=MUTED, label=label)[0] for label, line in (("validation", "-"), ("training", "--"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    save_figure(figure, path)
    return True


def _draw_curve(axes: Axes, run: _RunRead, metric: str, color: Any) -> None:
    for split, line, width in (("train", "--", 1.0), ("val", "-", 1.8)):
        points = [(row["epoch"], row[f"{split}/{metric}"]) for row in run.metrics if f"{split}/{metric}" in row]
        if points:
            epochs, heights = zip(*points, strict=True)
            marker = "o" if len(points) <= _MARKED_EPOCHS and split == "val" else None
            axes.plot(epochs, heights, line, color=color, linewidth=width, marker=marker, markersize=3)


def _colors(count: int) -> list[Any]:
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return [matplotlib.colormaps["viridis"](index / (count - 1)) for index in range(count)]

"""The verbs: run, resume and evaluate a config, from the command line or a script."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from toolkit.build import Run, build_run, require_same_outputs
from toolkit.calibration import calibrate, choose_answer
from toolkit.config import dump_config, load_config
from toolkit.config.load import from_mapping
from toolkit.config.run_config import RunConfig
from toolkit.data.sample import Split
from toolkit.errors import CheckpointError, DataError, StoppedError
from toolkit.evaluation.evaluate import Pass
from toolkit.evaluation.evaluate import evaluate as evaluate_split
from toolkit.evaluation.evaluation import Evaluation
from toolkit.extension.discovery import Plugins, load_plugins
from toolkit.models.model import count_parameters
from toolkit.reporting.curves import plot_curves
from toolkit.reporting.environment import command_line, environment
from toolkit.reporting.figures import save_figure
from toolkit.reporting.files import read_jsonl, write_json_atomic, write_text_atomic
from toolkit.reporting.progress import Progress
from toolkit.reporting.recorder import Recorder
from toolkit.reporting.report import write_report
from toolkit.reporting.run_dir import RunDir
from toolkit.run_folder import Beginning, load_chosen, read_beginning, read_info, runtime_here, write_info
from toolkit.training.checkpoint import Checkpoint, link_checkpoint, load_checkpoint, newest_checkpoint
from toolkit.training.fit import FitState, Trainer
from toolkit.training.one_pass import fit_in_one_pass
from toolkit.training.runtime import Runtime, active, choose_runtime

Watch = Callable[[Mapping[str, Any]], None]
"""Is shown every epoch's row."""
SPLITS: Mapping[Split, str] = {"validation": "val", "test": "test"}
"""Part of the data -> first part of its scores' names."""


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    scores: name such as test/accuracy -> number. undefined: name -> why there is no number.
    """

    folder: Path
    scores: Mapping[str, float]
    undefined: Mapping[str, str]
    report: Path


def run(
    config: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    synthetic: bool = False,
    out: str | Path | None = None,
    plugin_files: Sequence[str | Path] = (),
    watch: Watch | None = None,
) -> RunResult:
    """Train, evaluate and report one config.

    Args:
        config: a YAML file, or the same as a mapping.
        overrides: laid over it, such as "fit.batch_size=64".
        synthetic: use the task's built-in data and the config's `synthetic:` block.
        out: the run folder itself; default runs/<config name>/<time>-<id>.
        plugin_files: one-file plugins to load besides the installed ones.
        watch: shown every epoch's row of metrics.jsonl; what it raises ends the run.

    Raises: a ToolkitError, whose `exit_code` the command line would end with.
    """
    files = [Path(file) for file in plugin_files]
    plugins = load_plugins(files)
    checked, is_synthetic = load_config(config, overrides=overrides, synthetic=synthetic, registry=plugins.registry)
    name = "config" if isinstance(config, Mapping) else Path(config).stem
    source = yaml.safe_dump(from_mapping(config).plain()) if isinstance(config, Mapping) else Path(config).read_text(encoding="utf-8")
    beginning = Beginning(name, is_synthetic, command_line(), tuple(str(file.resolve()) for file in files))
    runtime = choose_runtime(checked.runtime)
    with active(runtime):
        folder = _new_folder(runtime, name, out)
        with _at_work(folder, runtime, checked) as progress:
            if runtime.is_main:
                write_text_atomic(folder.source_yaml, source)
                _write_config(folder, checked, beginning)  # before the data are read, so that a kill from here on can be resumed
            return _build_and_fit(folder, checked, beginning, plugins, runtime, progress, None, watch)


def resume(folder: str | Path, *, watch: Watch | None = None) -> RunResult:
    """Go on with an interrupted run from its newest valid checkpoint, or from its start where there is none yet.

    Args:
        watch: as for `run`.

    Raises:
        CheckpointError: every checkpoint is damaged.
        DataError: the data are not those the run began with.
    """
    run_dir, beginning, plugins, checked = _reopen(folder)
    runtime = choose_runtime(checked.runtime)
    with active(runtime), _at_work(run_dir, runtime, checked) as progress:
        checkpoint, problems = newest_checkpoint(run_dir.checkpoints)
        for problem in problems:
            progress.log(f"passed over: {problem}")
        if checkpoint is None and problems:
            raise CheckpointError(f"no valid checkpoint in {run_dir.checkpoints}: {'; '.join(problems)}")
        runtime.barrier()  # all have read it
        if checkpoint is not None:
            if runtime.is_main:
                _mend_checkpoints(run_dir, checkpoint, progress)
            checkpoint.state["best"] = runtime.gather(checkpoint.state["best"])[0]
        return _build_and_fit(run_dir, checked, beginning, plugins, runtime, progress, checkpoint, watch)


def evaluate(folder: str | Path, split: Split = "test", overrides: Iterable[str] = ()) -> tuple[dict[str, float], dict[str, str]]:
    """Scores of a run's chosen checkpoint on "validation" or "test", and why some are undefined.

    Args:
        overrides: laid over the run's config, such as "data.root=other": the same model on other data. The folder stays as it is.

    Raises: ConfigError if the data set has no such part; DataError if its outputs stand for others than the run's, such as other classes;
        CheckpointError if the checkpoint is missing or damaged.
    """
    run_dir, beginning, plugins, checked = _reopen(folder, overrides)
    runtime = runtime_here(checked.runtime)
    with active(runtime):
        built = build_run(checked, plugins, runtime, synthetic=beginning.synthetic, only=split)
        try:
            require_same_outputs(built.info, f"data set '{checked.data.name}'", read_info(run_dir, type(built.info)), "the run")
            load_chosen(built.model, built.task, run_dir, checked.fit.select.use)
            done = _evaluate(built, split)
        finally:
            built.close()
    prefix = SPLITS[split]
    return {f"{prefix}/{n}": v for n, v in done.scores.items()}, {f"{prefix}/{n}": r for n, r in done.undefined.items()}


def _mend_checkpoints(folder: RunDir, resumed: Checkpoint, progress: Progress) -> None:
    """Make `last` what is resumed (where no epoch is left to do, nothing else would write it), and choose anew a `best` that is lost."""
    if resumed.folder.name != "last":
        link_checkpoint(resumed.folder, folder.checkpoints / "last")
    best = resumed.state["best"]
    if best is None or _is_whole(folder.checkpoints / "best"):
        return
    progress.log(
        f"checkpoints/best is lost, so epoch {best['epoch']} with {best['metric']} {best['value']} is; the best is chosen from here on"
    )
    if resumed.state["position"]:
        resumed.state["best"] = None
        return
    last_row = resumed.state["history"][-1]
    resumed.state["best"] = {"epoch": last_row["epoch"], "value": last_row.get(best["metric"]), "metric": best["metric"]}
    link_checkpoint(folder.checkpoints / "last", folder.checkpoints / "best")


def _is_whole(checkpoint: Path) -> bool:
    try:
        load_checkpoint(checkpoint)
    except CheckpointError:
        return False
    return True


def _reopen(folder: str | Path, overrides: Iterable[str] = ()) -> tuple[RunDir, Beginning, Plugins, RunConfig]:
    run_dir = RunDir.open(Path(folder))
    beginning = read_beginning(run_dir)
    plugins = load_plugins([Path(file) for file in beginning.plugin_files])
    checked, _ = load_config(run_dir.config_yaml, overrides=overrides, registry=plugins.registry)
    return run_dir, beginning, plugins, checked


def _new_folder(runtime: Runtime, name: str, out: str | Path | None) -> RunDir:
    """Made by the main process; the others are told where."""
    made = None
    if runtime.is_main:
        made = RunDir.at(Path(out)) if out is not None else RunDir.create(Path("runs"), name)
    folder = runtime.gather(made)[0]
    assert folder is not None
    return folder


@contextmanager
def _at_work(folder: RunDir, runtime: Runtime, config: RunConfig) -> Iterator[Progress]:
    """The folder locked and the progress shown, by the main process; the others work silently."""
    epochs = sum(phase.epochs for phase in config.fit.phases)
    with folder.lock() if runtime.is_main else nullcontext(), _told_how_to_go_on(folder):
        log = folder.log_txt if runtime.is_main else None
        with Progress(epochs, log, None if runtime.is_main else Console(quiet=True)) as progress:
            yield progress


@contextmanager
def _told_how_to_go_on(folder: RunDir) -> Iterator[None]:
    """SIGINT and SIGTERM while reading or reporting end the run as they do in the loop, which has handlers of its own.

    Raises: StoppedError; every checkpoint written so far is whole.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    number = signal.SIGINT

    def note(received: int, frame: Any) -> None:
        nonlocal number
        number = signal.Signals(received)
        raise KeyboardInterrupt  # no plugin's `except Exception` holds it up

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError(f"stopped by {number.name}; go on with `toolkit resume {folder.path}`", number) from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _build_and_fit(
    folder: RunDir,
    config: RunConfig,
    beginning: Beginning,
    plugins: Plugins,
    runtime: Runtime,
    progress: Progress,
    checkpoint: Checkpoint | None,
    watch: Watch | None,
) -> RunResult:
    earlier_s = sum(row["seconds"] for row in read_jsonl(folder.timings_jsonl)[: len(checkpoint.state["history"])]) if checkpoint else 0.0
    started = time.perf_counter() - earlier_s
    progress.log(f"reading {config.data.name}")
    fresh = checkpoint is None
    built = build_run(config, plugins, runtime, synthetic=beginning.synthetic, fresh=fresh, on_reading=progress.log)
    built = dataclasses.replace(built, folder=folder.path)
    if beginning.data_fingerprint not in (None, built.data.fingerprint):
        raise DataError(f"{folder.path} began with other data (their fingerprint differs); restore them, or start a new run")
    if runtime.is_main:
        beginning = dataclasses.replace(beginning, data_fingerprint=built.data.fingerprint)
        _write_config(folder, built.config, beginning, built)
        if fresh:
            folder.become_latest()
    progress.log(str(built.runtime))
    progress.log(built.summary())
    if runtime.is_main:
        plugins.observe("toolkit_run_started", progress.log, run=built)
    try:
        with config.placed():
            state = _fit(built, folder, progress, checkpoint, watch)
        return _report(built, folder, progress, state, beginning.name, started)
    finally:
        built.close()


def _fit(built: Run, folder: RunDir, progress: Progress, checkpoint: Checkpoint | None, watch: Watch | None) -> FitState:
    def epoch_hook(row: Mapping[str, Any]) -> None:
        if built.runtime.is_main:
            scores = {name: value for name, value in row.items() if "/" in name}
            built.plugins.observe("toolkit_epoch_ended", progress.log, run=built, epoch=row["epoch"], scores=scores)
        if watch is not None:
            watch(row)

    listener = Recorder(progress, folder if built.runtime.is_main else None, epoch_hook)
    if built.config.fit.name == "one_pass":
        return fit_in_one_pass(built.job(folder.checkpoints), listener, checkpoint)
    trainer = Trainer(built.job(folder.checkpoints), listener)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    return trainer.run()


def _report(built: Run, folder: RunDir, progress: Progress, state: FitState, name: str, started: float) -> RunResult:
    """Evaluate the chosen checkpoint on validation and, once, on test; write results, plots and the report."""
    use = built.config.fit.select.use
    load_chosen(built.model, built.task, folder, use)
    if use == "best" and state.best and state.best["value"] is not None:
        progress.log(f"scores of epoch {state.best['epoch']} of {state.epoch}, the best {state.best['metric']} ({state.best['value']:.4g})")
    calibrate(built, folder.checkpoints / use)
    answer = None
    for caveat in built.task.caveats:
        progress.log(caveat)
    scores: dict[str, float] = {}
    undefined: dict[str, str] = {}
    splits = [split for split in SPLITS if split in built.loaders]
    for split in splits:
        progress.start_stage(split, len(built.loaders[split]))
        done = _evaluate(built, split, keep=split == splits[-1])  # predictions may fill the memory, and only the last are drawn
        if split == "validation" and (answer := choose_answer(built, done, folder.checkpoints / use, progress.log)):
            progress.start_stage(split, len(built.loaders[split]))
            done = _evaluate(built, split, keep=split == splits[-1])  # '' is another reading now
        scores |= {f"{SPLITS[split]}/{score}": value for score, value in done.scores.items()}
        undefined |= {f"{SPLITS[split]}/{score}": reason for score, reason in done.undefined.items()}
    if built.runtime.is_main:
        _write_plots(built, folder, built.as_evaluation(splits[-1], done), state)
        results = _results(built, state, name, time.perf_counter() - started)
        results["select"] |= {"answer": answer} if answer else {}
        results["caveats"] = list(built.task.caveats)
        results["lower_is_better"] = [score for score, higher in done.higher_is_better.items() if not higher]
        write_json_atomic(folder.results_json, {"scores": scores, "undefined": undefined, **results})
        write_report(folder)
        built.plugins.observe("toolkit_run_ended", progress.log, run=built, report=folder.report_html)
    built.runtime.barrier()
    return RunResult(folder.path, scores, undefined, folder.report_html)


def _evaluate(built: Run, split: Split, *, keep: bool = False) -> Pass:
    return evaluate_split(built.model, built.loaders[split], built.task, built.loss, built.metrics, built.runtime, keep=keep)


def _write_config(folder: RunDir, config: RunConfig, beginning: Beginning, built: Run | None = None) -> None:
    """config.yaml last: a folder that has it can be resumed."""
    what = dataclasses.asdict(beginning)
    if built is not None:
        plugins = [dataclasses.asdict(status.origin) | {"problem": status.problem} for status in built.plugins.statuses]
        runtime = built.runtime
        what |= environment(str(runtime.device), runtime.threads, plugins, built.data.fingerprint) | {"processes": runtime.world}
        write_info(folder, built.info)
    write_json_atomic(folder.environment_json, what)
    write_text_atomic(folder.config_yaml, dump_config(config))


def _write_plots(built: Run, folder: RunDir, evaluation: Evaluation[Any], state: FitState) -> None:
    folder.plots.mkdir(exist_ok=True)
    best = state.best["epoch"] if state.best else None
    plot_curves(state.history, folder.plots, best_epoch=best if built.config.fit.select.use == "best" else state.epoch)
    for name, plot in built.plots.items():
        save_figure(plot(evaluation), folder.plots / f"{name}.png")


def _results(built: Run, state: FitState, name: str, seconds: float) -> dict[str, Any]:
    """What stands in results.json beside the scores."""
    config = built.config
    return {
        "config": name,
        "task": config.task.name,
        "data": {
            "name": config.data.name,
            **{split: len(part.indices) for split, part in built.data.parts.items()},
            "fingerprint": built.data.fingerprint,
        },
        "synthetic": built.synthetic,
        "select": {**(state.best or {}), "use": config.fit.select.use},
        "epochs": state.epoch,
        "model": {"name": config.model.name, "parameters": count_parameters(built.model)},
        "seconds": round(seconds, 1),
        "device": str(built.runtime.device),
        "precision": built.runtime.precision,
        "threads": built.runtime.threads,
        "processes": built.runtime.world,
        "seed": config.seed,
    }

"""`run_sweep`: a search for good options with Optuna, each trial in its own run folder."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from toolkit import runs
from toolkit.errors import ConfigError, DataError, ResourceError, RunBusyError, StoppedError
from toolkit.extension.discovery import load_plugins
from toolkit.extension.leaf import shown
from toolkit.reporting.files import disk_errors
from toolkit.reporting.run_dir import RunDir
from toolkit.studies.settings import Setting, differences
from toolkit.studies.sweep_file import UNTESTED, Range, Sweep, read_sweep
from toolkit.studies.sweep_report import FOLDER, draw_study, study_table
from toolkit.studies.table import write_table

_DEFINITION = "definition"
_SEEDS = 2**32  # that NumPy takes


@dataclass(frozen=True)
class SweepResult:
    """A sweep as far as it has come. best: command of the best finished trial; None where none has finished. page: the report."""

    folder: Path
    page: Path
    best: str | None


def run_sweep(
    file: Path,
    *,
    out: Path | None = None,
    storage: str | None = None,
    synthetic: bool = False,
    plugin_files: Sequence[Path] = (),
    log: Callable[[str], None] = print,
) -> SweepResult:
    """Run trials until the study has as many as the file says; an interrupted trial of this folder is resumed first.

    Trials train on the training part and are judged on validation; the test part is not read. Several machines search together
    where they name one storage, each with a folder of its own.

    Args:
        out: the sweep's folder; default runs/sweeps/<name>.
        storage: of the study, as an Optuna URL; default the file's own, else study.db in the folder.

    Raises:
        ConfigError: the file is wrong, the study began with another config, space or metric, or the first trial of this start had
            one: likely all would. That trial is marked as failed, and the same command goes on with another.
        DataError, ResourceError: this machine lacks the data or gave out; the trial under way is gone on with the next time.
        RunBusyError: another process works in this folder.
        StoppedError: by SIGINT or SIGTERM; the same command goes on.
    """
    optuna = _optuna()
    sweep = read_sweep(file, synthetic=synthetic, registry=load_plugins(plugin_files).registry)
    folder = out if out is not None else Path("runs") / "sweeps" / file.stem
    with disk_errors(folder):
        (folder / "trials").mkdir(parents=True, exist_ok=True)
    with RunDir(folder).lock():
        study = _open(optuna, sweep, storage or sweep.storage or f"sqlite:///{(folder / 'study.db').absolute()}")
        search = _Search(optuna, sweep, study, folder, synthetic, tuple(plugin_files), log)
        try:
            search.check_direction()
            for number in search.interrupted():
                search.go_on(number)
            while _taken(study) < sweep.trials:
                search.ask()
        finally:
            page, best = _report(optuna, sweep, study, folder, _flags(synthetic, plugin_files))
    return SweepResult(folder, page, best)


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise ConfigError("toolkit sweep needs Optuna, which is not installed; pip install 'vision-toolkit[sweep]'") from None


def _open(optuna: Any, sweep: Sweep, storage: str) -> Any:
    """The study of this name, made where there is none.

    Raises: ConfigError where the storage cannot be opened, or the study was defined otherwise.
    """
    shown_storage = re.sub("//[^@/]*@", "//...@", storage)  # without a password
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it would say is in our own lines
    try:
        study = optuna.create_study(storage=storage, study_name=sweep.path.stem, direction=sweep.direction, load_if_exists=True)
    except Exception as error:  # every database has errors of its own
        raise ConfigError(f"cannot open the storage {shown_storage}: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    now = json.loads(json.dumps(sweep.definition()))
    before = study.user_attrs.get(_DEFINITION)
    if before is None:
        study.set_user_attr(_DEFINITION, now)
        return study
    for path, old, new in differences(before, now):
        raise ConfigError(
            f"study '{study.study_name}' in {shown_storage} began with {path} {shown(old)}, now it is {shown(new)}; "
            "put it back, or begin a new study under another file name or with --out"
        )
    return study


def _taken(study: Any) -> int:
    """Trials that have ended or are under way, here or elsewhere: those whose machine died among them, which the table tells."""
    return sum(trial.state.name != "WAITING" for trial in study.get_trials(deepcopy=False))


@dataclass(frozen=True)
class _Search:
    """Runs trials.

    optuna: the module, which is an extra. study: Optuna's. tried: numbers of this start's trials.
    """

    optuna: Any
    sweep: Sweep
    study: Any
    folder: Path
    synthetic: bool
    plugin_files: tuple[Path, ...]
    log: Callable[[str], None]
    tried: list[int] = field(default_factory=list)

    def check_direction(self) -> None:
        """Raises: ConfigError where a finished trial of this folder shows that the direction is the wrong one."""
        for file in sorted((self.folder / "trials").glob("*/results.json"))[:1]:
            lower_is_better = RunDir(file.parent).results().get("lower_is_better")
            if lower_is_better is not None:
                self.sweep.check_direction(lower_is_better)

    def interrupted(self) -> list[int]:
        """Numbers of trials that were under way in this folder when their process ended: nobody else works here."""
        running = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]
        return [trial.number for trial in running if trial.user_attrs.get(FOLDER) == self._named_place(trial.number)]

    def go_on(self, number: int) -> None:
        """Resume a trial, or begin it again where nothing of it was kept."""
        self._choose_samplers()
        frozen = self.study.get_trials(deepcopy=False)[number]
        self._run(self.optuna.trial.Trial(self.study, frozen._trial_id), reported=len(frozen.intermediate_values))

    def ask(self) -> None:
        """Run a new trial."""
        self._choose_samplers()
        trial = self.study.ask()
        trial.set_user_attr(FOLDER, self._named_place(trial.number))
        self._run(trial)

    def _choose_samplers(self) -> None:
        """A study in storage has neither sampler nor pruner: Optuna would take its own."""
        self.study.sampler = _sampler(self.optuna, self.sweep, len(self.study.get_trials(deepcopy=False)))
        self.study.pruner = _pruner(self.optuna, self.sweep)

    def _place(self, number: int) -> Path:
        return self.folder.absolute() / "trials" / f"{number:04d}"

    def _named_place(self, number: int) -> str:
        """With the machine's name, as others may share the storage and have a folder of the same path."""
        return f"{socket.gethostname()}:{self._place(number)}"

    def _run(self, trial: Any, reported: int = 0) -> None:
        settings = suggested(self.sweep, trial)
        self.log(f"trial {trial.number}: {', '.join(map(str, settings))}")

        def watch(row: Mapping[str, Any]) -> None:
            if self.sweep.metric in row and row["epoch"] > reported:
                trial.report(row[self.sweep.metric], row["epoch"])
                if trial.should_prune() and row["epoch"] < self._epochs(trial.number):  # after the last one nothing would be saved
                    raise self.optuna.TrialPruned(f"after epoch {row['epoch']}")

        self.tried.append(trial.number)
        try:
            self._judge(trial, self._train(self._place(trial.number), settings, watch))
        except self.optuna.TrialPruned as pruned:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
            self.log(f"trial {trial.number}: pruned {pruned}")
        except StoppedError as error:
            number = error.exit_code - 128
            raise StoppedError(f"{str(error).partition(';')[0]}; the same command goes on with trial {trial.number}", number) from None
        except RunBusyError:
            self.log(f"trial {trial.number}: another process is at it")
        except (DataError, ResourceError):  # of this machine, not of what was drawn: the trial stays under way
            raise
        except Exception as error:  # a failed trial, a plugin's bug among them, is a row of the table
            self._fail(trial, f"{type(error).__name__}: {' '.join(str(error).split())}")
            if isinstance(error, ConfigError) and self.tried == [trial.number]:
                raise  # what is wrong with the first is likely wrong with all: a misspelt metric, a device that is not there
        self.check_direction()

    def _epochs(self, number: int) -> int:
        """Of all phases of the trial."""
        phases = yaml.safe_load(RunDir(self._place(number)).config_yaml.read_bytes())["fit"]["phases"]
        return sum(int(phase["epochs"]) for phase in phases)

    def _train(self, place: Path, settings: Sequence[Setting], watch: Callable[[Mapping[str, Any]], None]) -> runs.RunResult:
        if RunDir(place).config_yaml.is_file():
            return runs.resume(place, watch=watch)
        overrides = map(str, (*self.sweep.common, *settings))
        return runs.run(self.sweep.config, overrides, synthetic=self.synthetic, out=place, plugin_files=self.plugin_files, watch=watch)

    def _judge(self, trial: Any, done: runs.RunResult) -> None:
        """Raises: ConfigError where the run knows no such score; one that it knows and could not compute fails the trial."""
        metric = self.sweep.metric
        if metric in done.undefined:
            self._fail(trial, f"{metric} has no number: {done.undefined[metric]}")
        elif metric not in done.scores:
            raise ConfigError(f"the run gave no number for {metric}; there are: {', '.join(done.scores)}")
        else:
            self.study.tell(trial, done.scores[metric])
            self.log(f"trial {trial.number}: {metric} {done.scores[metric]:.4f}")

    def _fail(self, trial: Any, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        self.log(f"trial {trial.number}: {reason}")


def suggested(sweep: Sweep, trial: Any) -> tuple[Setting, ...]:
    """What a trial sets: drawn by its sampler, or as it was drawn before."""
    settings: list[Setting] = []
    for path, values in sweep.space.items():
        if not isinstance(values, Range):
            label = trial.suggest_categorical(path, [choice.label for choice in values])
            settings += next(choice.settings for choice in values if choice.label == label)
        elif isinstance(values.low, int) and isinstance(values.high, int):
            settings.append(values.setting(path, trial.suggest_int(path, values.low, values.high, log=values.log)))
        else:
            settings.append(values.setting(path, trial.suggest_float(path, values.low, values.high, log=values.log)))
    return tuple(settings)


def _sampler(optuna: Any, sweep: Sweep, trials: int) -> Any:
    """A sampler for the next trial, seeded by how many there are, so that a sweep that was interrupted does not repeat itself."""
    options = sweep.sampler.options
    seed = (options["seed"] * 1_000_003 + trials) % _SEEDS if "seed" in options else None
    if sweep.sampler.name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=options.get("startup_trials", 10), seed=seed)


def _pruner(optuna: Any, sweep: Sweep) -> Any:
    options = sweep.pruner.options
    if sweep.pruner.name == "median":
        return optuna.pruners.MedianPruner(options.get("startup_trials", 5), options.get("warmup_epochs", 0) + 1)  # steps from 0
    if sweep.pruner.name == "hyperband":
        epochs = sum(phase.epochs for phase in sweep.base.fit.phases)
        return optuna.pruners.HyperbandPruner(1, max(1, epochs), options.get("reduction_factor", 3))
    return optuna.pruners.NopPruner()


def _flags(synthetic: bool, plugin_files: Sequence[Path]) -> list[str]:
    """As `toolkit run` takes them."""
    return [*(["--synthetic"] if synthetic else []), *(word for file in plugin_files for word in ("--plugin", str(file)))]


def _report(optuna: Any, sweep: Sweep, study: Any, folder: Path, flags: Sequence[str]) -> tuple[Path, str | None]:
    """Write the table and the picture; gives the page and the command that trains the best trial's config and tests it."""
    trials = study.get_trials(deepcopy=False)
    best = None
    if any(trial.state.name == "COMPLETE" for trial in trials):
        settings = suggested(sweep, optuna.trial.FixedTrial(study.best_trial.params))
        best = shlex.join(["toolkit", "run", str(sweep.config), *map(str, (*sweep.common[len(UNTESTED) :], *settings)), *flags])
    picture = folder / "sweep.png"
    drawn = draw_study(sweep, trials, picture)
    _, _, page = write_table(study_table(sweep, trials, best), folder, "sweep", [picture] if drawn else [])
    return page, best

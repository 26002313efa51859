"""`run_grid`: every cell of a grid, each in its own run folder, and one table of them all."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import runs
from toolkit.config import plain_config
from toolkit.cores import usable_cores
from toolkit.errors import ConfigError, DataError, ResourceError, StoppedError, ToolkitError
from toolkit.extension.discovery import load_plugins
from toolkit.extension.leaf import closest, did_you_mean, shown
from toolkit.reporting.facts import duration
from toolkit.reporting.files import disk_errors, write_json_atomic
from toolkit.reporting.run_dir import RunDir
from toolkit.studies.grid_file import Cell, Grid, read_grid
from toolkit.studies.settings import differences
from toolkit.studies.table import Seconds, Table, Value, spread_of, write_table

_NO_CELLS_FAULT = {error.exit_code: error for error in (DataError, ResourceError)}
"""By exit code; of this machine, not of a cell: the others would fail as well. Data only as long as no cell has finished."""


@dataclass(frozen=True)
class Failure:
    """Why a cell failed, in one line, and what a command that runs it alone ends with."""

    reason: str
    exit_code: int


@dataclass(frozen=True)
class GridResult:
    """A grid that was run. table: CSV, Markdown, HTML. failures: by cell, in the grid's order."""

    folder: Path
    table: tuple[Path, Path, Path]
    finished: int
    failures: Mapping[str, Failure]

    @property
    def exit_code(self) -> int:
        """0, or that of the first cell that failed."""
        return next((failure.exit_code for failure in self.failures.values()), 0)


def run_grid(
    file: Path,
    *,
    out: Path | None = None,
    jobs: int = 1,
    synthetic: bool = False,
    plugin_files: Sequence[Path] = (),
    log: Callable[[str], None] = print,
) -> GridResult:
    """Run what is not finished yet of a grid, and write its table, which is written again after every cell.

    A finished cell is kept, an interrupted one resumed; one that fails does not stop the others and stands in the table with
    its reason, and is tried again the next time.

    Args:
        out: the grid's folder; default runs/grids/<name>.
        jobs: cells at the same time, each in a process of its own with its share of the cores.

    Raises:
        ConfigError: the file or a cell is wrong, or the folder holds cells with other settings.
        DataError, ResourceError: this machine lacks the data or gave out; the same command goes on with what is not finished.
        RunBusyError: another process works on this grid.
        StoppedError: by SIGINT or SIGTERM; the same command goes on.
    """
    grid = read_grid(file, synthetic=synthetic, registry=load_plugins(plugin_files).registry)
    folder = out if out is not None else Path("runs") / "grids" / file.stem
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with RunDir(folder).lock():
        _keep_cells(folder, grid)
        todo = [cell for cell in grid.cells if not _results(folder, cell)]
        log(f"{len(grid.cells)} cells, {len(grid.cells) - len(todo)} finished before; {folder}")
        for note in _about_stand_in(grid):
            log(note)
        failures: dict[str, Failure] = {}
        for cell in grid.cells:
            if results := _results(folder, cell):
                _check_scores(grid, results)
                break

        def ended(cell: Cell, failure: Failure | None) -> None:
            if failure is not None:
                failures[cell.name] = failure
            else:
                _check_scores(grid, _results(folder, cell))
            log(f"{cell.name}: {failure.reason if failure else 'finished'}")
            write_table(grid_table(grid, folder, failures), folder, "table")

        _Work(grid, folder, synthetic, tuple(plugin_files), jobs).run(todo, ended)
        files = write_table(grid_table(grid, folder, failures), folder, "table")
    in_order = {cell.name: failures[cell.name] for cell in grid.cells if cell.name in failures}
    return GridResult(folder, files, len(grid.cells) - len(failures), in_order)


@dataclass(frozen=True)
class _Work:
    """How cells are run."""

    grid: Grid
    folder: Path
    synthetic: bool
    plugin_files: tuple[Path, ...]
    jobs: int

    def run(self, cells: Sequence[Cell], ended: Callable[[Cell, Failure | None], None]) -> None:
        """Run the cells; `ended` gets each, with its failure if it failed.

        Raises: StoppedError by SIGINT or SIGTERM; DataError or ResourceError that are not a cell's own.
        """
        with _interrupted_by_signals() as number:
            try:
                if self.jobs > 1:
                    self._in_processes(cells, ended)
                else:
                    for cell in cells:
                        ended(cell, self._here(cell))
            except KeyboardInterrupt:
                raise _stopped(number()) from None

    def _here(self, cell: Cell) -> Failure | None:
        place = cell_folder(self.folder, cell)
        try:
            if RunDir(place).config_yaml.is_file():
                runs.resume(place)
            else:
                settings = map(str, cell.settings)
                runs.run(self.grid.config, settings, synthetic=self.synthetic, out=place, plugin_files=self.plugin_files)
        except StoppedError as error:
            raise _stopped(error.exit_code - 128) from None
        except Exception as error:  # a cell's failure, bugs of a plugin among them, is a row of the table
            code = error.exit_code if isinstance(error, ToolkitError) else ToolkitError.exit_code
            return self._of_the_cell(cell, Failure(_one_line(error), code))
        return None

    def _of_the_cell(self, cell: Cell, failure: Failure) -> Failure:
        """The failure. Raises: DataError or ResourceError where it is not the cell's."""
        error = _NO_CELLS_FAULT.get(failure.exit_code)
        if error is None or (error is DataError and any(_results(self.folder, other) for other in self.grid.cells)):
            return failure
        raise error(f"cell {cell.name}: {failure.reason}")

    def _in_processes(self, cells: Sequence[Cell], ended: Callable[[Cell, Failure | None], None]) -> None:
        started: list[subprocess.Popen[str]] = []
        stopping = threading.Event()

        def work(cell: Cell) -> Failure | None:
            process = subprocess.Popen(  # in a session of its own, so that a Ctrl-C in the terminal reaches it through us, once
                self._command(cell), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
            started.append(process)
            if stopping.is_set():
                process.terminate()
            _, told = process.communicate()
            return None if process.returncode == 0 else self._of_the_cell(cell, _failure(told, process.returncode))

        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(work, cell): cell for cell in cells}
            try:
                for future in as_completed(futures):
                    ended(futures[future], future.result())
            except BaseException:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                for process in started:
                    process.terminate()  # a run then saves a checkpoint and ends
                raise

    def _command(self, cell: Cell) -> list[str]:
        place = cell_folder(self.folder, cell)
        toolkit = [sys.executable, "-m", "toolkit"]
        if RunDir(place).config_yaml.is_file():
            return [*toolkit, "resume", str(place)]
        settings = [str(setting) for setting in cell.settings]
        if cell.config.runtime.threads == "auto":
            settings.append(f"runtime.threads={max(1, usable_cores() // self.jobs)}")
        options = ["--out", str(place), *(["--synthetic"] if self.synthetic else [])]
        plugins = [word for file in self.plugin_files for word in ("--plugin", str(file))]
        return [*toolkit, "run", str(self.grid.config), *settings, *options, *plugins]


def cell_folder(folder: Path, cell: Cell) -> Path:
    """The run folder of a cell."""
    return folder / "cells" / cell.name


def grid_table(grid: Grid, folder: Path, failures: Mapping[str, Failure]) -> Table:
    """One row per combination: mean and spread over folds and seeds of every score, and the mean seconds that a cell took."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in grid.cells:
        groups.setdefault(tuple(cell.values.values()), []).append(cell)
    done = {cell.name: results for cell in grid.cells if (results := _results(folder, cell))}
    rows: list[list[Value]] = []
    for values, cells in groups.items():
        finished = [done[cell.name] for cell in cells if cell.name in done]
        means: list[Value] = [spread_of([r["scores"][score] for r in finished if score in r["scores"]]) for score in grid.scores]
        rows.append([*values, *means, _mean_seconds(finished), f"{len(finished)} of {len(cells)}"])
    notes = [*_about_stand_in(grid)]
    notes += [f"{cell.name}: {failures[cell.name].reason}" for cell in grid.cells if cell.name in failures]
    notes += [f"{name}: {note}" for name, results in done.items() for note in _without_number(results, grid.scores)]
    notes += dict.fromkeys(caveat for results in done.values() for caveat in results.get("caveats", ()))
    return Table(grid.path.stem, [*grid.axes, *grid.scores, "time per cell (s)", "finished"], rows, _facts(grid, done.values()), notes)


def _about_stand_in(grid: Grid) -> Iterator[str]:
    if grid.stand_in:
        yield f"with --synthetic all rows are of {grid.stand_in}; the grid's settings of data are left out"


def _mean_seconds(finished: Sequence[Mapping[str, Any]]) -> Seconds | None:
    return Seconds(statistics.mean(results["seconds"] for results in finished)) if finished else None


def _without_number(results: Mapping[str, Any], scores: Sequence[str]) -> Iterator[str]:
    for score in scores:
        if score not in results["scores"]:
            yield f"{score} has no number: {results['undefined'].get(score, 'the run gave no such score')}"


def _facts(grid: Grid, finished: Collection[Mapping[str, Any]]) -> dict[str, str]:
    many = {
        "Device": sorted({f"{r['device']}, {r['precision']}, {r['threads']} threads" for r in finished}),
        "Data": sorted({f"{r['data']['name']}{' (synthetic)' if r['synthetic'] else ''}" for r in finished}),
        "Epochs": sorted({str(r["epochs"]) for r in finished}),
    }
    total = sum(r["seconds"] for r in finished)
    return {
        "Config": grid.config.name,
        **({"Folds": f"{grid.folds} of a cross-validation"} if grid.folds else {}),
        "Seeds": ", ".join(map(str, grid.seeds)),
        **({"±": f"sample standard deviation over {_repeats(grid)}"} if len(grid.seeds) * (grid.folds or 1) > 1 else {}),
        **{name: "; ".join(values) for name, values in many.items() if values},
        **({"Time": f"{duration(total)} for {len(finished)} of {len(grid.cells)} cells"} if finished else {}),
    }


def _check_scores(grid: Grid, results: Mapping[str, Any]) -> None:
    """Raises: ConfigError for a whole part's score that a finished cell neither has nor says why not: likely a misspelt one.

    Scores of classes or stages (test/stage3/pcp) may be those of some cells only, and stand in the table's notes.
    """
    known = [*results["scores"], *results["undefined"]]
    for score in grid.scores:
        if score not in known and score.count("/") == 1:
            mains = ", ".join(name for name in known if name.count("/") == 1)
            raise ConfigError(
                f"{grid.path}: scores: no score named '{score}'{did_you_mean(closest(score, known)) or f'; there are: {mains}'}"
            )


def _repeats(grid: Grid) -> str:
    """What a row's cells differ in, such as "3 folds x 2 seeds"."""
    parts = [(grid.folds or 1, "folds"), (len(grid.seeds), "seeds")]
    return " x ".join(f"{count} {what}" for count, what in parts if count > 1)


def _results(folder: Path, cell: Cell) -> dict[str, Any]:
    return RunDir(cell_folder(folder, cell)).results()


def _keep_cells(folder: Path, grid: Grid) -> None:
    """Note every cell's whole config in grid.json, or compare with what stands there: a grid may grow, but no cell may change or go.

    Raises: ConfigError naming the first difference.
    """
    file = folder / "grid.json"
    now = {cell.name: plain_config(cell.config) for cell in grid.cells}
    before = json.loads(file.read_bytes()) if file.exists() else {}
    for name, config in before.items():
        what = f"{folder} began with another grid: cell {name}"
        if name not in now:
            raise ConfigError(f"{what} is no longer in {grid.path}; put it back, or name a new folder with --out")
        for path, old, new in differences(config, json.loads(json.dumps(now[name]))):
            raise ConfigError(f"{what} had {path} {shown(old)}, now it is {shown(new)}; put it back, or name a new folder with --out")
    write_json_atomic(file, now)


@contextmanager
def _interrupted_by_signals() -> Iterator[Callable[[], int]]:
    """SIGINT and SIGTERM raise KeyboardInterrupt; gives the number of the one that came."""
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)} if here else {}
    try:
        yield lambda: came[0] if came else signal.SIGINT
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(number: int) -> StoppedError:
    return StoppedError(f"stopped by {signal.Signals(number).name}; the same command goes on with what is not finished", number)


def _failure(told: str, code: int) -> Failure:
    """The line that the command ended with, and its code; where a signal killed it (below 0), the one that a shell gives."""
    errors = [line.removeprefix("error: ") for line in told.splitlines() if line.startswith("error: ")]
    return Failure(errors[-1] if errors else f"the process ended with code {code}", code if code > 0 else 128 - code)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if type(error).__module__ == "toolkit.errors" else f"{type(error).__name__}: {text}"

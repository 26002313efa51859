"""Kill a run at random moments, resume it, and compare every byte with a run that was left alone.

    python tests/runs/kill_and_resume.py --kills 40 --workers 0 2 --seed 0

One line per kill: when, where the run was (from its log.txt), and what became of it. Ends with 1 if any byte differed.
The runs go where temporary files go; TMPDIR=/dev/shm spares the disk hundreds of checkpoints.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
task: classification
data: {name: synthetic_shapes, size: 1200, image_size: 16}
transforms:
  train: [{name: PadIfNeeded, min_height: 20, min_width: 20}, {name: RandomCrop, height: 16, width: 16}, {name: HorizontalFlip}]
model: {name: cnn, filters: [8, 16], batch_norm: after_activation, dense: [32], dropout: 0.2, dense_dropout: 0.2}
metrics: [accuracy]
plots: []
runtime: {device: cpu, precision: float32, threads: 1}
fit:
  batch_size: 8
  ema: 0.99
  save_minutes: 0.002
  phases:
    - {epochs: 4, optimizer: {name: adam, lr: 3e-3}, schedule: cosine}
    - {train: classifier, epochs: 3, optimizer: {name: sgd, lr: 1e-2, momentum: 0.9}}
"""
"""Dropout, batch norm, a moving average, two phases and random transforms, and a checkpoint every 0.12 seconds within the epochs."""

COMPARED = ("checkpoints/last/model.safetensors", "checkpoints/last/ema.safetensors", "metrics.jsonl")


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after the process began, or after it began to write."""

    seconds: float
    at_work: bool


@dataclass(frozen=True)
class Kill:
    """One kill and its end: when and where it came, and which files differ from the reference's once the run is done."""

    seconds: float
    where: str
    differing: tuple[str, ...]

    def __str__(self) -> str:
        result = f"DIFFERENT: {', '.join(self.differing)}" if self.differing else "byte-equal"
        return f"killed after {self.seconds:5.2f} s  {self.where:<60}  {result}"


class Experiment:
    """A reference run and the runs that are killed, in one folder.

    Args:
        folder: where the runs go.
        seed: of the moments.
        engine: device or worker; the two draw other random numbers, so each has a reference of its own.
    """

    def __init__(self, folder: Path, seed: int, engine: str) -> None:
        self._engine = f"loader.engine={engine}"
        self._folder = folder
        self._random = random.Random(seed)
        self._config = folder / "config.yaml"
        self._config.write_text(CONFIG)
        self._errors = folder / "errors.txt"
        reference = folder / "reference"
        started = time.monotonic()
        if self._run(reference, "run", self._config, self._engine, "loader.workers=0", "--out", reference):
            raise RuntimeError(f"the reference run failed:\n{self._errors.read_text()}")
        self.reference_seconds = time.monotonic() - started
        self._seconds_at_work = time.time() - (reference / "source.yaml").stat().st_mtime
        self._expected = self._bytes(reference)

    def kill(self, name: str, workers: int) -> list[Kill]:
        """Begin a run, kill it, resume it (and now and then kill that too) until it is done.

        Gives one `Kill` for each, or none if the run was done before its moment came.
        """
        out = self._folder / name
        kills: list[tuple[float, str]] = []
        again = True
        while True:
            moment = self._moment() if again else None
            arguments = ["resume", out] if (out / "config.yaml").exists() else self._begin(out, workers, attempt=len(kills))
            out = Path(arguments[-1])
            started = time.monotonic()
            exit_code = self._run(out, *arguments, kill_at=moment)
            if exit_code == 0:
                break
            if exit_code != -signal.SIGKILL or moment is None:
                raise RuntimeError(f"{out} ended with {exit_code}:\n{self._errors.read_text()}")
            kills.append((time.monotonic() - started, _where(out)))
            again = self._random.random() < 0.3
        found = self._bytes(out)
        differing = tuple(file for file in COMPARED if found[file] != self._expected[file])
        return [Kill(moment, where, differing) for moment, where in kills]

    def _begin(self, out: Path, workers: int, attempt: int) -> list[str | Path]:
        """A folder that a kill left without config.yaml is no run yet, so the run begins anew beside it."""
        fresh = out.with_name(f"{out.name}-{attempt}") if out.exists() else out
        return ["run", self._config, self._engine, f"loader.workers={workers}", "--out", fresh]

    def _moment(self) -> Moment:
        """One in four anywhere in the run, which is importing half of the time; the others once it is at work."""
        if self._random.random() < 0.25:
            return Moment(self._random.uniform(0, self.reference_seconds), at_work=False)
        return Moment(self._random.uniform(0, self._seconds_at_work), at_work=True)

    def _run(self, out: Path, *arguments: str | Path, kill_at: Moment | None = None) -> int:
        """The exit code of the command, -9 where it was killed together with its workers."""
        with self._errors.open("a") as errors:
            command = [sys.executable, "-m", "toolkit", *map(str, arguments)]
            began = time.time()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        try:
            while kill_at and kill_at.at_work and process.poll() is None and not _changed_since(out, began):
                time.sleep(0.01)
            return process.wait(timeout=kill_at.seconds if kill_at else None)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _bytes(self, out: Path) -> dict[str, bytes]:
        return {file: (out / file).read_bytes() for file in COMPARED}


def _changed_since(out: Path, moment: float) -> bool:
    """Whether a run or a resume has written its first file: the lock says who holds it."""
    lock = out / "run.lock"
    return lock.exists() and lock.stat().st_mtime >= moment


def _where(out: Path) -> str:
    """The last thing that the run said, and the checkpoint it was saving."""
    if not (out / "config.yaml").exists():
        return "before there was a config.yaml"
    log = out / "log.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    last = " ".join(lines[-1].split()[2:])[:34] if lines else "nothing said yet"
    half = sorted(folder.name for folder in (out / "checkpoints").glob("*.*")) if (out / "checkpoints").is_dir() else []
    reporting = " (reporting)" if "epoch 7/7" in last else ""
    return last + reporting + (f" (writing {', '.join(half)})" if half else "")


def kill_and_resume(kills: int, workers: Sequence[int], seed: int, engine: str) -> list[Kill]:
    """So many kills, the numbers of workers taking turns; prints each."""
    done: list[Kill] = []
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(Path(folder), seed, engine)
        print(f"the reference took {experiment.reference_seconds:.1f} s", flush=True)
        number = 0
        while len(done) < kills:
            number_of_workers = workers[number % len(workers)]
            for kill in experiment.kill(f"run{number}", number_of_workers):
                done.append(kill)
                print(f"{len(done):3}  {number_of_workers} workers  {kill}", flush=True)
            number += 1
    return done


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["worker", "device"], default="worker", help="device has no workers")
    asked = parser.parse_args()
    done = kill_and_resume(asked.kills, asked.workers, asked.seed, asked.engine)
    different = sum(bool(kill.differing) for kill in done)
    print(f"{len(done)} kills: {len(done) - different} byte-equal, {different} different")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()

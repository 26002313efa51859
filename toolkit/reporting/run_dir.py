"""`RunDir`: the one place that knows where the files of a run stand, and who works among them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, DataError, RunBusyError
from toolkit.reporting.files import disk_errors

_LOCK_NAME = "run.lock"
_CREATED = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_held_locks: set[int] = set()
"""Descriptors of the locks this process holds."""


@dataclass(frozen=True)
class RunDir:
    """A run folder. Make one with `create`, `at` or `open`; the fields below are paths in it, whether or not they exist yet."""

    path: Path

    @classmethod
    def create(cls, runs_root: Path, config_name: str) -> RunDir:
        """A new folder `runs_root/config_name/<time>-<short id>`; `become_latest` points `latest` beside it there.

        Raises: ConfigError if something that is no link stands where `latest` belongs; ResourceError if nothing can be written.
        """
        parent = runs_root / config_name
        latest = parent / "latest"
        if latest.exists() and not latest.is_symlink():
            raise ConfigError(f"{latest} is not a link to the newest run; rename it, or choose a run folder with --out")
        folder = parent / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        with disk_errors(folder):
            folder.mkdir(parents=True)
        return cls(folder)

    def results(self) -> dict[str, Any]:
        """What results.json holds; empty where the run has not finished. Raises: DataError where it is damaged."""
        file = self.results_json
        if not file.exists():
            return {}
        try:
            results: dict[str, Any] = json.loads(file.read_bytes())
        except ValueError as error:
            raise DataError(f"{file}: not JSON: {error}; delete it and `toolkit resume {self.path}`") from error
        return results

    def become_latest(self) -> None:
        """Point `latest` beside a folder that `create` named here.

        To be called once the run has its data: a command with a wrong path takes no earlier run's place.
        """
        if _CREATED.fullmatch(self.path.name):
            with disk_errors(self.path):
                _point(self.path.parent / "latest", self.path.name)

    @classmethod
    def at(cls, path: Path) -> RunDir:
        """`path` itself as a new run folder; one whose run ended before its first epoch (a wrong path of the data, say) is used again.

        Raises: ConfigError if it is a file or holds anything else already; RunBusyError if a run is going on in it.
        """
        if path.exists() and not path.is_dir():
            raise ConfigError(f"--out {path} is a file; a run needs a folder of its own, so name a new one")
        run_dir = cls(path)
        if run_dir.run_lock.exists():
            with run_dir.lock():
                pass
        has_begun = run_dir.config_yaml.exists()
        if has_begun and (run_dir.metrics_jsonl.exists() or run_dir.checkpoints.exists()):
            raise ConfigError(f"--out {path} holds a run already; go on with it by `toolkit resume {path}`, or name a new folder")
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        if not has_begun and any(entry.name not in (_LOCK_NAME, run_dir.log_txt.name) for entry in path.iterdir()):
            raise ConfigError(
                f"--out {path} is not empty and holds no run (no config.yaml, so no `toolkit resume {path}` either); name a new folder"
            )
        return run_dir

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """The run folder that exists at `path`, which may also be a `latest` link or the folder that holds one.

        Links are followed here, once: a newer run that moves `latest` does not move this one.

        Raises: ConfigError saying what was looked for, if there is no run.
        """
        candidates = [path, path / "latest"]
        for candidate in candidates:
            folder = candidate.parent / os.readlink(candidate) if candidate.is_symlink() else candidate
            if (run_dir := cls(folder)).config_yaml.is_file():
                return run_dir
        looked_for = " and ".join(str(candidate / "config.yaml") for candidate in candidates)
        raise ConfigError(f"no run in {path}: looked for {looked_for}; name a run folder such as runs/<config name>/latest")

    @property
    def config_yaml(self) -> Path:
        """The resolved config, which resume reads."""
        return self.path / "config.yaml"

    @property
    def source_yaml(self) -> Path:
        """The config as the user wrote it."""
        return self.path / "source.yaml"

    @property
    def environment_json(self) -> Path:
        """Versions, device, plugins and data fingerprint."""
        return self.path / "environment.json"

    @property
    def info_json(self) -> Path:
        """What the data set told the model: class names, shapes."""
        return self.path / "info.json"

    @property
    def metrics_jsonl(self) -> Path:
        """One row per epoch, without clock times, so that equal runs give equal bytes."""
        return self.path / "metrics.jsonl"

    @property
    def timings_jsonl(self) -> Path:
        """Seconds and images/s, one row per epoch."""
        return self.path / "timings.jsonl"

    @property
    def results_json(self) -> Path:
        """The final scores; absent until the run has ended."""
        return self.path / "results.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of `last` and `best`."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """Folder of PNG pictures."""
        return self.path / "plots"

    @property
    def report_html(self) -> Path:
        """The report, one self-contained file."""
        return self.path / "report.html"

    @property
    def log_txt(self) -> Path:
        """Everything that was said while running, with times."""
        return self.path / "log.txt"

    @property
    def run_lock(self) -> Path:
        """Says which process works here."""
        return self.path / _LOCK_NAME

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go of it when the process ends, however that happens.

        Raises: RunBusyError naming the process that holds it.
        """
        with disk_errors(self.run_lock):
            descriptor = os.open(self.run_lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take(descriptor)
            _held_locks.add(descriptor)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            _held_locks.discard(descriptor)
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        with disk_errors(self.run_lock):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 300).decode("utf-8", "replace").strip() or "another process"
                raise RunBusyError(f"{self.path} is in use by {holder}; wait until it ends, or use another run folder") from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())


def _point(link: Path, target: str) -> None:
    """Make or move a link in one step, so that it never is absent."""
    temporary = link.with_name(f".latest.{os.getpid()}.{target}")
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(link)


def _let_go_in_child() -> None:
    """A forked data worker must not keep the lock of a parent that was killed: `toolkit resume` would find the folder busy."""
    for descriptor in _held_locks:
        os.close(descriptor)
    _held_locks.clear()


os.register_at_fork(after_in_child=_let_go_in_child)

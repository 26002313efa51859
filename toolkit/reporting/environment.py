"""What a run ran on: the content of environment.json."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.cores import usable_cores

_DISTRIBUTIONS = {
    "toolkit": ("vision-toolkit",),
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "timm": ("timm",),
    "albumentations": ("albumentations",),
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
}


def environment(device: str, threads: int, plugins: Sequence[Mapping[str, Any]], data_fingerprint: str) -> dict[str, Any]:
    """Everything beside the config that a result may depend on, as JSON values.

    Args:
        device: in words, such as "cpu" or "cuda:0 (NVIDIA H200)".
        threads: of the CPU in each process.
        plugins: one mapping each, with at least name, distribution and version.
        data_fingerprint: of the data set.
    """
    return {
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "threads": threads,
        "device": device,
        "versions": {name: version for name, names in _DISTRIBUTIONS.items() if (version := _version(names))},
        "plugins": [dict(plugin) for plugin in plugins],
        "data_fingerprint": data_fingerprint,
        "git_commit": _git_commit(),
    }


def command_line() -> str:
    """What this process was started with, as a person would type it."""
    return shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "toolkit"), *sys.argv[1:]])


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _git_commit() -> str | None:
    """Commit of the current folder, "-dirty" if files differ from it; None where git or a repository is absent."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None

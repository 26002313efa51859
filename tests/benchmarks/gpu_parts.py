"""What `gpu.py` measures, each part in a process of its own: (settings, job or config) -> what goes into the JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JOBS = Path(__file__).parent / "jobs"
COMPARED = ("checkpoints/last/model.safetensors", "checkpoints/last/optimizer.safetensors", "metrics.jsonl")
KILL_EVERY_S = 0.005
"""How often it is looked whether the run that is to be killed has a checkpoint."""


@dataclass(frozen=True)
class Settings:
    """Where the arithmetic runs, and whether only to try the script."""

    device: str
    quick: bool

    @property
    def runtime(self) -> list[str]:
        """What is laid over every config; one thread where the machine may be busy with other things."""
        return [f"runtime.device={self.device}", *(["runtime.threads=1"] if self.quick else [])]

    @property
    def seconds(self) -> float:
        """Of each loop in each round."""
        return 0.1 if self.quick else 1.0

    @property
    def rounds(self) -> int:
        """Rounds, in which loops take turns."""
        return 1 if self.quick else 5


def machine(settings: Settings, of: str) -> dict[str, Any]:
    """The device and the versions."""
    import torch
    import torchvision

    device = torch.cuda.get_device_name() if settings.device.startswith("cuda") else platform.processor() or platform.machine()
    versions = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__}
    return {"device": device, "cores": len(os.sched_getaffinity(0)), **versions}


def bench(settings: Settings, of: str) -> dict[str, Any]:
    """`toolkit bench` of a job or config: the real loop, the bare loops, the data alone, the efficiency."""
    return _bench(settings, of)


def bench_stage2(settings: Settings, of: str) -> dict[str, Any]:
    """The same for the second phase of a cascade, whose boxes are cut out in every step."""
    return _bench(settings, of, phase=2)


def epoch(settings: Settings, of: str) -> dict[str, Any]:
    """Seconds of an epoch of a real run, the first one left out; train_s is training alone, whole_s with validation and saving."""
    with tempfile.TemporaryDirectory() as folder:
        epochs = 2 if settings.quick else 8
        size = ["data.size=50000"] if _is_drawn(of) and not settings.quick else []
        drawn = _run(settings, of, Path(folder) / "run", [f"fit.phases.0.epochs={epochs}", "plots=[]", *size])
        timings = [json.loads(row) for row in (Path(folder) / "run" / "timings.jsonl").read_text().splitlines()][1:]
        images = json.loads((Path(folder) / "run" / "results.json").read_text())["data"]["train"]
    return {
        "images": images,
        "train_s": images / statistics.median(row["images_per_s"] for row in timings),
        "whole_s": statistics.median(row["seconds"] for row in timings),
        "synthetic": drawn,
        "timings": timings,
    }


def ordinary(settings: Settings, of: str) -> dict[str, Any]:
    """The tutorial's loop with a DataLoader, by number of workers and precision."""
    from compare import try_all
    from peers.job import read_job
    from peers.pytorch_loop import PytorchLoop

    job = read_job(of, settings.runtime)
    workers = (0, 1) if settings.quick else (0, 2, 4, 8, len(os.sched_getaffinity(0)))
    tried = try_all(PytorchLoop(job), workers, settings.seconds)
    return {"images_per_s": {str(one.choice): one.images_per_s for one in tried}, "problems": sorted({one.problem for one in tried})}


def determinism(settings: Settings, of: str) -> dict[str, Any]:
    """Whether two runs, and one that was killed (SIGKILL) and resumed, end with the same bytes under `deterministic: true`."""
    import toolkit

    epochs = 3 if settings.quick else 6
    more = ["runtime.deterministic=true", f"fit.phases.0.epochs={epochs}", "fit.save_minutes=0.001", "plots=[]"]
    with tempfile.TemporaryDirectory() as folder:
        first, second, killed = (Path(folder) / name for name in ("first", "second", "killed"))
        for run in (first, second):
            _run(settings, of, run, more)
        done = _run_and_kill(first / "config.yaml", killed)
        toolkit.resume(killed)
        unequal = {run.name: [name for name in COMPARED if _bytes(first / name) != _bytes(run / name)] for run in (second, killed)}
    return {
        "runs_equal": not unequal["second"],
        "resumed_equal": not unequal["killed"],
        "unequal": unequal,
        "killed_after_epochs": done,
        "epochs": epochs,
    }


def compile(settings: Settings, of: str) -> dict[str, Any]:
    """`toolkit bench` with and without torch.compile."""
    from toolkit.config.run_config import RuntimeConfig

    if "compile" not in {field.name for field in dataclasses.fields(RuntimeConfig)}:
        return {"skipped": "runtime has no option compile"}
    results = {value: _bench(settings, of, f"runtime.compile={value}") for value in ("false", "true")}
    return {"images_per_s": {f"compile {value}": result["real"] for value, result in results.items()}, "results": results}


def precision(settings: Settings, of: str) -> dict[str, Any]:
    """Rates, and validation scores after a few epochs over seeds, in float32 and bfloat16."""
    rates, scores = {}, {}
    epochs, seeds = (1, 1) if settings.quick else (5, 3)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("float32", "bfloat16"):
            rates[name] = _bench(settings, of, f"runtime.precision={name}")["real"]
            scores[name] = []
            for seed in range(seeds):
                run = Path(folder) / f"{name}{seed}"
                more = [f"runtime.precision={name}", f"seed={seed}", f"fit.phases.0.epochs={epochs}", "plots=[]"]
                _run(settings, of, run, more)
                found = json.loads((run / "results.json").read_text())["scores"]
                scores[name].append(found.get("val/accuracy", found["val/loss"]))
    return {"images_per_s": rates, "scores": scores, "epochs": epochs}


def peers(settings: Settings, of: str) -> dict[str, Any]:
    """`compare.py` for one job, with those peers that are here."""
    from compare import compare_job

    asked = argparse.Namespace(
        peers=("pytorch", "lightning", "timm"),
        rounds=1 if settings.quick else 3,
        seconds=settings.seconds,
        try_seconds=0.1 if settings.quick else 0.5,
        workers=(0,) if settings.quick else (0, 2, 8),
        keras_python=None,
        set=settings.runtime,
    )
    return compare_job(of, asked).as_json()


def _bench(settings: Settings, of: str, *more: str, phase: int = 1) -> dict[str, Any]:
    from toolkit.bench import bench as measure

    drawn = _is_drawn(of)
    overrides = [*_overrides(settings, drawn), *more]
    result = measure(_file(of), overrides, synthetic=drawn, seconds=settings.seconds, rounds=settings.rounds, phase=phase)
    return {**result.as_json(), "synthetic": drawn}


def _run(settings: Settings, of: str, out: Path, more: Sequence[str]) -> bool:
    """Returns whether the data were drawn."""
    import toolkit

    drawn = _is_drawn(of)
    toolkit.run(_file(of), [*_overrides(settings, drawn), *more], synthetic=drawn, out=out)
    return drawn


def _is_drawn(of: str) -> bool:
    """Whether the data of a job or config are not here."""
    from toolkit.components import build_component
    from toolkit.config import load_config
    from toolkit.errors import DataError
    from toolkit.extension.discovery import load_plugins

    config, _ = load_config(_file(of), registry=load_plugins().registry)
    try:
        build_component(config.data, "train")
    except DataError:
        return True
    return False


def _run_and_kill(config: Path, out: Path) -> int:
    """Start the run of a resolved config and kill it at its first checkpoint; returns how many epochs it had done."""
    command = [sys.executable, "-m", "toolkit", "run", str(config), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out / "checkpoints" / "last").exists():
        time.sleep(KILL_EVERY_S)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = out / "metrics.jsonl"
    return len(rows.read_text().splitlines()) if rows.exists() else 0


def _file(of: str) -> Path:
    return JOBS / f"{of}.yaml" if (JOBS / f"{of}.yaml").exists() else Path(of)


def _overrides(settings: Settings, drawn: bool) -> list[str]:
    few = ["data.size=600", "fit.batch_size=32"] if settings.quick and drawn else []
    return [*settings.runtime, *few]


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""

"""Started by torchrun from `test_processes.py`: one checkpoint evaluated for many sizes of data, by one process and by all.

Usage: torchrun ... two_processes.py RUN_FOLDER LARGEST_SIZE OUT. Writes OUT/sizes.json and a run of all processes, OUT/run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import toolkit
from toolkit.build import Run, build_run
from toolkit.config import load_config
from toolkit.data.worker_engine import WorkerLoader
from toolkit.evaluation.evaluate import evaluate
from toolkit.extension.discovery import load_plugins
from toolkit.reporting.run_dir import RunDir
from toolkit.run_folder import load_chosen
from toolkit.training.runtime import Runtime, active, choose_runtime

BATCH_SIZE = 4
"""Small, so that the sizes have last batches of every kind: full, of one sample (none for the second process), of two, of three."""


def main() -> None:
    """Every process does all of it; the first writes."""
    folder, largest, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    plugins = load_plugins()
    config, _ = load_config(folder / "config.yaml", registry=plugins.registry)
    runtime = choose_runtime(config.runtime)
    alone = replace(runtime, rank=0, world=1)
    with active(runtime):
        run = build_run(config, plugins, runtime)
        load_chosen(run.model, run.task, RunDir(folder), "best")
        rows = [{"one": scores(run, size, alone), "all": scores(run, size, runtime)} for size in range(1, largest + 1)]
        if runtime.is_main:
            (out / "sizes.json").write_text(json.dumps(rows))
        toolkit.run(yaml.safe_load((folder / "source.yaml").read_text()), ["plots=[]"], out=out / "run")


def scores(run: Run, size: int, runtime: Runtime) -> dict[str, Any]:
    """Scores, ids and predictions over the first so many test samples."""
    part = run.data.parts["test"]
    loader = WorkerLoader(
        part.prepared.subset(np.arange(size)),
        part.transforms,
        run.task.encode,
        batch_size=BATCH_SIZE,
        train=False,
        rank=runtime.rank,
        world=runtime.world,
    )
    done = evaluate(run.model, loader, run.task, run.loss, run.metrics, runtime, keep=True)
    assert done.kept is not None
    return {
        "scores": done.scores,
        "undefined": done.undefined,
        "ids": done.kept.ids,
        "predictions": {name: value.tolist() for name, value in asdict(done.kept.predictions).items()},
        "losses": done.kept.losses.tolist(),
    }


if __name__ == "__main__":
    main()

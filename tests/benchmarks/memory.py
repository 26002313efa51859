"""Start time and memory of a job whose decoded pictures do, or do not, fit into the memory: with the cache on disk and without.

    python tests/benchmarks/memory.py [--pictures 300] [--side 1024] [--memory-gib 0.05] [--json]

Makes JPEGs in a temporary folder and reads them in processes of their own: an epoch of flipped batches after the start, no model.

| column | tells |
|---|---|
| start | seconds until all was read, checked and prepared |
| epoch 1, epoch 2 | seconds for all batches |
| peak | largest resident size of the main process in MiB, over that after the imports, with mapped pages, which the system may take back |
| anonymous | memory that only this job holds, of all its processes together, after epoch 2, over that after the imports |
| mapped | pages of files, of all processes together, each page counted once |
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from toolkit.data.cache import Cache
from toolkit.data.device_engine import DeviceLoader, plan_for
from toolkit.data.device_transforms import Refusal
from toolkit.data.images import read_image
from toolkit.data.keeping import MemoryBudget
from toolkit.data.prepared import prepare
from toolkit.data.sample import Dataset, Sample, Target
from toolkit.data.signature import files_signature
from toolkit.data.transforms import TransformList, albumentations_transform
from toolkit.data.worker_engine import WorkerLoader

MODES: dict[str, dict[str, Any]] = {
    "without a cache": {"cache_gib": 0.0},
    "cache, first run": {},
    "cache, second run": {},
    "cache, 2 workers": {"workers": 2},
    "in memory": {"cache_gib": 0.0, "memory_gib": 64.0},
    "in memory, 2 workers": {"cache_gib": 0.0, "memory_gib": 64.0, "workers": 2},
}
"""What is measured, in this order; `workers` asks for the worker engine."""


class Photographs(Dataset[Target]):
    """The JPEGs of a folder."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.jpg"))

    def signature(self) -> str:
        return files_signature(self.files)

    def __getitem__(self, index: Any) -> Any:
        return Sample(self.files[index].name, read_image(self.files[index]), Target())

    def __len__(self) -> int:
        return len(self.files)


def make_photographs(folder: Path, count: int, side: int) -> None:
    """Smooth random pictures, which JPEG packs about as photographs."""
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number:05d}.jpg", quality=90)


def measure(folder: Path, memory_gib: float, cache_gib: float, workers: int | None) -> dict[str, Any]:
    """One job, in this process."""
    flip: Any = albumentations_transform("HorizontalFlip")
    before, started = memory_mib(), time.perf_counter()
    transforms = TransformList([flip()])
    prepared = prepare(Photographs(folder), transforms, budget=MemoryBudget(memory_gib), cache=Cache(cache_gib))
    seconds = [time.perf_counter() - started]
    plan = plan_for(prepared, transforms)
    shared: dict[str, Any] = {"batch_size": 16, "train": True}
    loader: DeviceLoader | WorkerLoader
    if workers is None and not isinstance(plan, Refusal):
        loader = DeviceLoader(prepared, transforms, plan, lambda targets, size: targets, **shared)
    else:
        loader = WorkerLoader(prepared, transforms, lambda targets, size: targets, workers=workers or 0, **shared)
    for epoch in range(2):
        started = time.perf_counter()
        for batch in loader.epoch(epoch):
            assert batch.images.shape[1] == 3
        seconds.append(time.perf_counter() - started)
    after = memory_mib()
    told = loader.describe()
    loader.close()
    return {
        "start": seconds[0],
        "epoch 1": seconds[1],
        "epoch 2": seconds[2],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before["Rss"],
        "anonymous": after["Pss_Anon"] - before["Pss_Anon"],
        "mapped": after["Pss_File"] - before["Pss_File"],
        "told": told,
    }


def memory_mib() -> dict[str, float]:
    """Rss of this process; Pss of it and its children together, in which a shared page counts once."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = [_rollup(process) for process in ("self", *children)]
    return {name: sum(one[name] for one in found) for name in ("Pss_Anon", "Pss_File")} | {"Rss": found[0]["Rss"]}


def _rollup(process: str) -> dict[str, float]:
    lines = [line.split() for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]]
    return {name.rstrip(":"): int(kib) / 1024 for name, kib, *_ in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description="Start time and memory with and without the cache on disk")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--memory-gib", type=float, default=0.05)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        folder, mode = given.measure
        options: dict[str, Any] = {"memory_gib": given.memory_gib, "cache_gib": 64.0, "workers": None} | MODES[mode]
        print(json.dumps(measure(Path(folder), **options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "photographs")
        folder.mkdir()
        make_photographs(folder, given.pictures, given.side)
        found = {}
        for mode in MODES:
            command = [sys.executable, __file__, "--memory-gib", str(given.memory_gib), "--measure", str(folder), mode]
            environment = os.environ | {"TOOLKIT_CACHE": str(Path(scratch, "cache"))}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found[mode] = json.loads(done.stdout)
    if given.json:
        print(json.dumps({"pictures": given.pictures, "side": given.side, "torch": torch.__version__, "modes": found}, indent=2))
        return
    print(f"{given.pictures} pictures, {given.pictures * given.side**2 * 3 / 2**20:,.0f} MiB decoded, memory_gib {given.memory_gib}")
    columns = ("start", "epoch 1", "epoch 2", "peak", "anonymous", "mapped")
    print(" " * 22 + "".join(f"{name:>11}" for name in columns))
    for mode, row in found.items():
        print(f"{mode:22}" + "".join(f"{row[name]:11,.1f}" for name in columns) + f"   {row['told']}")


if __name__ == "__main__":
    main()

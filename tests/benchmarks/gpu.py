"""Every figure that needs a GPU, measured in one call from a checkout.

    python tests/benchmarks/gpu.py OUT --data DATA             on a machine with a CUDA GPU: about nine minutes
    python tests/benchmarks/gpu.py OUT --device cpu --quick    tries the script itself, anywhere, in a minute or two

OUT/gpu.json is written after every part. Each part runs in a process of its own with a time limit, so that one that fails, hangs or runs
out of memory costs only itself. Where the toolkit is not installed its plugins are found in the checkout all the same. Jobs whose data
are not below DATA run on drawn ones, and say so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EPOCH_TARGET_S, EFFICIENCY_TARGET = 0.8, 0.9
"""Of alexnet_cifar on CIFAR-10 with batches of 128, crop and flip, on one data-centre GPU."""


@dataclass(frozen=True)
class Part:
    """What is measured, of which job or config, and after how many seconds it is ended."""

    name: str
    measured: str
    of: str
    limit_s: float


def parts(quick: bool, configs: Sequence[str]) -> tuple[Part, ...]:
    """All parts, the most wanted first."""
    jobs = ("mlp", "cnn") if quick else ("alexnet", "mlp", "cnn", "clock", "autoencoder")
    some = ("mlp",) if quick else ("alexnet", "mlp")
    main = some[0]
    return (
        Part("machine", "machine", "", 60),
        *(Part(f"bench {job}", "bench", job, 90) for job in jobs),
        Part(f"epoch {main}", "epoch", main, 120),
        Part(f"ordinary pipeline {main}", "ordinary", main, 120),
        *(Part(f"determinism {job}", "determinism", job, 120) for job in some),
        *(Part(f"compile {job}", "compile", job, 150) for job in some),
        *(Part(f"precision {job}", "precision", job, 150) for job in some),
        *(Part(f"peers {job}", "peers", job, 120) for job in jobs[: 1 if quick else None]),
        *(Part(f"bench {Path(config).stem}", "bench", config, 60) for config in configs),
        *(Part(f"bench {Path(config).stem} stage 2", "bench_stage2", config, 60) for config in configs if "deeppose" in config),
    )


def main() -> None:
    """The command line: the parent, or one part of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="the least of everything, on drawn data")
    parser.add_argument("--data", type=Path, help="TOOLKIT_DATA")
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="no part begins later or lasts longer; with --quick there is no other limit"
    )
    parser.add_argument("--only", help="parts whose names contain this")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        import gpu_parts

        measured, _, of = asked.part.partition(":")
        settings = gpu_parts.Settings(asked.device, asked.quick)
        asked.out.write_text(json.dumps(getattr(gpu_parts, measured)(settings, of)))
        return
    configs = [] if asked.quick else sorted(str(file) for file in (ROOT / "configs").glob("*.yaml"))
    wanted = [part for part in parts(asked.quick, configs) if asked.only is None or asked.only in part.name]
    print(summary(measure(wanted, asked)))


def measure(wanted: Sequence[Part], asked: argparse.Namespace) -> dict[str, Any]:
    """Run the parts one after the other; the results are in OUT/gpu.json from the first one on."""
    asked.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * asked.minutes
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        environment = surroundings(Path(scratch), asked.data)
        for part in wanted:
            left = ends - time.monotonic()
            options = ["--device", asked.device, *(["--quick"] if asked.quick else [])]
            if left > 0:
                results[part.name] = run_part(part, options, environment, Path(scratch), left if asked.quick else min(left, part.limit_s))
            else:
                results[part.name] = {"failed": f"not begun: the {asked.minutes:g} minutes were over"}
            waiting = asked.out / "gpu.json.new"
            waiting.write_text(json.dumps(results, indent=1) + "\n")
            waiting.replace(asked.out / "gpu.json")
            print(line(part.name, results[part.name]), flush=True)
    return results


def run_part(part: Part, options: Sequence[str], environment: Mapping[str, str], scratch: Path, limit_s: float) -> dict[str, Any]:
    """{"result", "seconds"}, or {"failed": why, "seconds"}."""
    answer = scratch / "answer.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "gpu.py"), str(answer), "--part", f"{part.measured}:{part.of}", *options]
    started = time.monotonic()
    try:
        ended = subprocess.run(command, capture_output=True, text=True, env=dict(environment), timeout=limit_s, cwd=scratch, check=False)
        problem = _last_line(ended.stderr) or f"ended with {ended.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"was ended after {limit_s:.0f} s"
    seconds = round(time.monotonic() - started, 1)
    if answer.exists():
        return {"result": json.loads(answer.read_text()), "seconds": seconds}
    return {"failed": problem, "seconds": seconds}


def surroundings(scratch: Path, data: Path | None) -> dict[str, str]:
    """The environment of the parts: the data, the caches, and the checkout's packages where none are installed."""
    environment = dict(os.environ) | {"XDG_CACHE_HOME": str(scratch / "cache"), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    environment["TOOLKIT_DATA"] = str(data.resolve()) if data is not None else str(scratch / "no-data")
    try:
        distribution("vision-toolkit")
    except PackageNotFoundError:
        site = as_installed(ROOT, scratch / "site")
        paths = [str(site), str(ROOT), str(ROOT / "plugins"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def as_installed(root: Path, site: Path) -> Path:
    """Write what an installation would say about the checkout, so that its plugins are found by their entry points."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    sections = (f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()) for group, entries in groups.items())
    (folder / "entry_points.txt").write_text("\n".join(sections))
    return site


def line(name: str, outcome: Mapping[str, Any]) -> str:
    """A part's outcome in a line."""
    if "failed" in outcome:
        return f"{name:<40} FAILED {outcome['failed']}"
    said = SAID.get(name.partition(" ")[0], lambda result: "done")(outcome["result"])
    return f"{name:<40} {said}   ({outcome['seconds']:.0f} s)"


def summary(results: Mapping[str, Any]) -> str:
    """Whether the two targets are met, and how many parts failed."""
    lines = []
    epoch = results.get("epoch alexnet", {}).get("result")
    if epoch:
        met = "met" if epoch["train_s"] <= EPOCH_TARGET_S else "MISSED"
        lines.append(f"alexnet epoch {epoch['train_s']:.3f} s on {epoch['images']:,} pictures, target {EPOCH_TARGET_S} s: {met}")
    bench = results.get("bench alexnet", {}).get("result")
    if bench:
        met = "met" if bench["efficiency"] >= EFFICIENCY_TARGET else "MISSED"
        lines.append(f"alexnet efficiency {bench['efficiency']:.3f}, target {EFFICIENCY_TARGET}: {met}")
    failed = [name for name, outcome in results.items() if "failed" in outcome]
    lines.append(f"{len(results) - len(failed)} of {len(results)} parts measured" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return "\n".join(lines)


def _rates(result: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:,.0f}" for name, value in result["images_per_s"].items() if value)


SAID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "machine": lambda r: f"{r['device']}; torch {r['torch']}",
    "bench": lambda r: f"{r['real']:,.0f} images/s, efficiency {r['efficiency']:.3f}",
    "epoch": lambda r: f"{r['train_s']:.3f} s of training, {r['whole_s']:.3f} s with validation and saving, {r['images']:,} pictures",
    "ordinary": _rates,
    "determinism": lambda r: f"two runs {'' if r['runs_equal'] else 'NOT '}equal, resumed {'' if r['resumed_equal'] else 'NOT '}equal",
    "compile": lambda r: r.get("skipped") or _rates(r),
    "precision": lambda r: f"{_rates(r)}; {r['scores']}",
}
"""By the first word of a part's name."""


def _last_line(text: str) -> str:
    return next((words.strip() for words in reversed(text.splitlines()) if words.strip()), "")


if __name__ == "__main__":
    main()

"""Images per second of five jobs in the toolkit's real loop and in those of its peers, side by side.

    python tests/benchmarks/compare.py --rounds 5 --seconds 5 --keras-python keras/bin/python --json compare.json

The loops take turns within every round, so that a machine whose speed drifts drifts for all of them. Each peer is given the fastest
of several numbers of workers and of float32 and bfloat16, found by trying each for a short time; the toolkit chooses for itself.
pytorch is the plain loop of PyTorch's tutorial. Lightning comes with the extra: pip install -e '.[benchmarks]'. Keras needs an
environment of its own: python -m venv keras && keras/bin/pip install 'keras>=3' tensorflow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any, get_args

from peers.contender import AbsentError, Choice, Contender, Precision
from standings import JobStanding, PeerStanding, Tried, fastest, table

JOBS = ("mlp", "cnn", "alexnet", "clock", "autoencoder")
PEERS = ("pytorch", "lightning", "timm", "keras")
Measure = Callable[[float], float]
"""Seconds -> images per second."""


def main() -> None:
    """The command line."""
    asked = arguments(sys.argv[1:])
    if asked.data:
        os.environ["TOOLKIT_DATA"] = str(asked.data)
    standings = []
    for job in asked.jobs:
        standings.append(compare_job(job, asked))
        print(table(standings[-1:]), flush=True)
        if asked.json:  # after every job, so that a stop loses one
            asked.json.write_text(json.dumps({**about(asked), "jobs": [standing.as_json() for standing in standings]}, indent=1) + "\n")
    print("\n" + table(standings))


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line's words, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=_names(JOBS), default=JOBS, help=f"default: {','.join(JOBS)}")
    parser.add_argument("--peers", type=_names(PEERS), default=PEERS, help=f"default: {','.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each loop in each round")
    parser.add_argument("--try-seconds", type=float, default=2.0, help="of each combination that is tried before")
    parser.add_argument("--workers", type=_numbers, default=(0, 1, 2), help="numbers to try for the peers; default: 0,1,2")
    parser.add_argument("--keras-python", type=Path, help="a Python that has keras and tensorflow")
    parser.add_argument("--data", type=Path, help="TOOLKIT_DATA; jobs whose data are not there are timed on drawn ones")
    parser.add_argument("--json", type=Path, help="write everything there, every combination tried included")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="laid over every job, such as runtime.threads=1")
    return parser.parse_args(words)


def compare_job(name: str, asked: argparse.Namespace) -> JobStanding:
    """Set every loop up, try the peers' combinations, then let all take turns."""
    from peers.job import read_job
    from peers.toolkit_loop import ToolkitLoop

    job = read_job(name, asked.set)
    with ExitStack() as stack:
        ours = stack.enter_context(closing(ToolkitLoop(job)))
        ours.images_per_s(asked.try_seconds)
        peers: dict[str, PeerStanding] = {}
        turns: dict[str, Measure] = {"toolkit": ours.images_per_s}
        for peer in asked.peers:
            try:
                contender = stack.enter_context(closing(made(peer, job, asked)))
                tried = try_all(contender, asked.workers, asked.try_seconds)
            except AbsentError as absent:
                peers[peer] = PeerStanding(skipped=str(absent))
                continue
            chosen = fastest(tried)
            if chosen is None:
                peers[peer] = PeerStanding(tried, skipped=f"no combination ran: {tried[0].problem}")
                continue
            peers[peer] = PeerStanding(tried, chosen)
            turns[peer] = _fixed(contender, chosen)
        rates = take_turns(turns, asked.rounds, asked.seconds)
    return JobStanding(
        job=name,
        batch_size=job.batch_size,
        data=job.run.config.data.name + (", drawn" if job.synthetic else ""),
        chosen=f"{job.run.runtime}; {job.run.loaders['train'].describe()}",
        rates=rates["toolkit"],
        peers={peer: PeerStanding(each.tried, each.chosen, rates.get(peer, ()), each.skipped) for peer, each in peers.items()},
    )


def made(peer: str, job: Any, asked: argparse.Namespace) -> Contender:
    """The peer's loop for the job, in a process of its own. Raises: AbsentError where it is not installed."""
    if peer == "keras":
        from peers.keras_loop import KerasLoop

        return KerasLoop(job, asked.keras_python)
    from peers.child import Child

    return Child([sys.executable, str(Path(__file__).parent / "peers" / "torch_side.py"), job.name, peer, json.dumps(asked.set)])


def try_all(contender: Contender, workers: Sequence[int], seconds: float) -> tuple[Tried, ...]:
    """Every combination once; one that fails is noted and is not chosen."""
    tried = []
    for number, precision in product(workers, get_args(Precision)):
        choice = Choice(number, precision)
        try:
            tried.append(Tried(choice, contender.images_per_s(choice, seconds)))
        except Exception as error:
            tried.append(Tried(choice, None, f"{type(error).__name__}: {error}"))
    return tuple(tried)


def take_turns(turns: Mapping[str, Measure], rounds: int, seconds: float) -> dict[str, tuple[float, ...]]:
    """Rates by loop, one for each round; the loop that begins is another one in every round."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            rates[name].append(turns[name](seconds))
    return {name: tuple(values) for name, values in rates.items()}


def about(asked: argparse.Namespace) -> dict[str, Any]:
    """What the figures were measured with and on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": len(os.sched_getaffinity(0)), "gpu": gpu},
        "versions": {name: _version(name) for name in ("torch", "torchvision", "timm", "lightning", "pytorch-lightning", "albumentations")}
        | {"python": platform.python_version()},
        "keras": keras_versions(asked.keras_python),
    }


def keras_versions(python: Path | None) -> dict[str, str] | None:
    """Keras and TensorFlow of another Python, read without importing them."""
    if python is None:
        return None
    code = "from importlib.metadata import distributions as d; import json; print(json.dumps({x.name: x.version for x in d()}))"
    listed = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False).stdout
    wanted = ("keras", "tensorflow", "tensorflow-cpu", "tensorflow_cpu")
    return {name: number for name, number in json.loads(listed or "{}").items() if name in wanted}


def _fixed(contender: Contender, choice: Choice) -> Measure:
    return lambda seconds: contender.images_per_s(choice, seconds)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        asked = tuple(text.split(","))
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are: {','.join(known)}")
        return asked

    return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


if __name__ == "__main__":
    main()

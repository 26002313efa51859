"""How fast a config trains, beside a bare loop over the same model: what the trainer itself costs."""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.build import Run, build_run
from toolkit.components import build_component
from toolkit.config import load_config
from toolkit.config.run_config import PhaseConfig
from toolkit.data.device_engine import plan_for
from toolkit.data.device_transforms import DevicePlan, Draws
from toolkit.data.loader import Loader
from toolkit.data.repeated import RepeatedLoader
from toolkit.data.tree import select, to_device, to_float32
from toolkit.errors import ConfigError
from toolkit.evaluation.evaluate import Scorekeeper, total_loss
from toolkit.extension.discovery import load_plugins
from toolkit.models.model import training_output
from toolkit.training.active_phase import ActivePhase
from toolkit.training.fit import Trainer
from toolkit.training.listener import SilentListener
from toolkit.training.phases import trained_part
from toolkit.training.runtime import active, choose_runtime

Loop = Callable[[int], None]
"""Trains on (or makes) so many batches."""


@dataclass(frozen=True)
class BenchResult:
    """Images per second, each the median over rounds in which the loops took turns.

    real: the toolkit's training loop, validation and saving left out.
    bare: the same model, optimizer, clipping, precision and batched transforms called directly on tensors in memory, nothing else;
        None where transforms must run sample by sample, which a bare loop over tensors cannot.
    bare_without_transforms: the same on pictures that are finished already.
    data: making batches alone.
    peak_memory_mib: of the GPU where there is one, else the resident set of the process, imports and data included.
    efficiency: real / bare (or bare_without_transforms where that is all there is), median of the rounds' ratios.
    """

    config: str
    engine: str
    runtime: str
    batch_size: int
    rounds: int
    real: float
    bare: float | None
    bare_without_transforms: float
    data: float
    efficiency: float
    peak_memory_mib: float

    @property
    def verdict(self) -> str:
        """What to make faster: a batch takes 1 / real seconds per image, making it alone 1 / data."""
        share = self.real / self.data
        bound = "data-bound: fewer or cheaper transforms, or more workers, would help" if share > 0.5 else "compute-bound"
        return f"{bound} (making batches takes {share:.0%} of the time)"

    def as_json(self) -> dict[str, Any]:
        """The fields by name, and the verdict."""
        return asdict(self) | {"verdict": self.verdict}

    def __str__(self) -> str:
        bare = f"{self.bare:>12,.0f} images/s" if self.bare is not None else "           - (some transforms run sample by sample)"
        return "\n".join(
            (
                f"{self.config}, batch {self.batch_size}; {self.runtime}; {self.engine}",
                f"training loop            {self.real:>12,.0f} images/s   (median of {self.rounds} rounds)",
                f"bare loop                {bare}",
                f"bare, no transforms      {self.bare_without_transforms:>12,.0f} images/s",
                f"data alone               {self.data:>12,.0f} images/s",
                f"efficiency               {self.efficiency:>12.3f}",
                f"peak memory              {self.peak_memory_mib:>12,.0f} MiB",
                f"verdict                  {self.verdict}",
            )
        )


def bench(
    config: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    synthetic: bool = False,
    seconds: float = 5.0,
    rounds: int = 5,
    phase: int = 1,
    plugin_files: Sequence[str | Path] = (),
) -> BenchResult:
    """Time one phase of a config. Nothing is written.

    Args:
        seconds: each loop is timed for about this long per round.
        rounds: the loops take turns, so that a machine whose speed drifts drifts for all of them.
        phase: which one, counted from 1.

    Raises: ConfigError if the config has no such phase.
    """
    plugins = load_plugins([Path(file) for file in plugin_files])
    checked, _ = load_config(config, overrides=overrides, synthetic=synthetic, registry=plugins.registry)
    if not 1 <= phase <= len(checked.fit.phases):
        raise ConfigError(f"there is no phase {phase} to time; fit.phases has {len(checked.fit.phases)}")
    runtime = choose_runtime(checked.runtime)
    with active(runtime):
        run = build_run(checked, plugins, runtime, synthetic=synthetic)
        loops = _loops(run, checked.fit.phases[phase - 1])
        steps = {name: _steps_for(loop, seconds) for name, loop in loops.items()}
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(rounds):
            for name, loop in loops.items():
                speeds[name].append(run.config.fit.batch_size * steps[name] / _seconds(loop, steps[name]))
        run.close()
    base = "bare" if "bare" in loops else "bare_without_transforms"
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return BenchResult(
        config=str(config) if not isinstance(config, Mapping) else "config",
        engine=run.loaders["train"].describe(),
        runtime=str(run.runtime),
        batch_size=run.config.fit.batch_size,
        rounds=rounds,
        real=medians["real"],
        bare=medians.get("bare"),
        bare_without_transforms=medians["bare_without_transforms"],
        data=medians["data"],
        peak_memory_mib=_peak_memory_mib(run),
        efficiency=statistics.median(a / b for a, b in zip(speeds["real"], speeds[base], strict=True)),
    )


def _loops(run: Run, phase: PhaseConfig) -> dict[str, Loop]:
    loops = {"real": _real_loop(run, phase)}
    part = run.data.parts["train"]
    plan = plan_for(part.prepared, part.transforms)
    if isinstance(plan, DevicePlan):
        loops["bare"] = _bare_loop(run, phase, _transformed_in_the_loop(run, plan))
    loops["bare_without_transforms"] = _bare_loop(run, phase, _finished_before(run))
    loops["data"] = lambda steps: _exhaust(run.loaders["train"], steps)
    return loops


def _real_loop(run: Run, phase: PhaseConfig) -> Loop:
    endless = RepeatedLoader(run.loaders["train"])
    trainer = Trainer(replace(run.job(Path()), train=endless, config=replace(run.config.fit, save_minutes=math.inf)), SilentListener())
    started: list[ActivePhase] = []

    def loop(steps: int) -> None:
        if not started:  # once: a model may look at the whole validation part first
            started.append(trainer.start_phase(phase))
        started[0].part.freeze_the_rest()
        endless.batches, trainer.state.position = steps, 0
        trainer.train_batches(started[0], Scorekeeper(run.task, run.metrics))

    return loop


def _bare_loop(run: Run, phase: PhaseConfig, batches: Callable[[], Iterator[tuple[Tensor, Any]]]) -> Loop:
    """What a careful person would write by hand for this one model."""

    def loop(steps: int) -> None:
        part = trained_part(run.model, phase.train)
        part.freeze_the_rest()
        part.train_mode()
        optimizer = build_component(phase.optimizer, part.parameters())
        for _, (images, encoded) in zip(range(steps), batches(), strict=False):
            optimizer.zero_grad(set_to_none=True)
            with run.runtime.autocast():
                output = to_float32(training_output(run.model, images, encoded))
            loss = total_loss(run.loss(output, encoded)).mean()
            torch.autograd.backward(loss)
            if run.config.fit.clip_norm:
                nn.utils.clip_grad_norm_(part.parameters(), run.config.fit.clip_norm)
            optimizer.step()
        _wait(run)

    return loop


def _transformed_in_the_loop(run: Run, plan: DevicePlan) -> Callable[[], Iterator[tuple[Tensor, Any]]]:
    """An index into tensors, the batched transforms and the encoding, called directly."""
    prepared, transforms = run.data.parts["train"].prepared, run.data.parts["train"].transforms
    store, size = prepared.store, run.config.fit.batch_size
    assert isinstance(store.images, Tensor)
    images = store.images.to(run.runtime.device)
    all_targets: Any = to_device(store.targets, run.runtime.device)
    rows = torch.from_numpy(prepared.positions).to(run.runtime.device)

    def batches() -> Iterator[tuple[Tensor, Any]]:
        for number, indices in enumerate(_shuffled(rows, size)):
            pictures, targets = images.index_select(0, indices), select(all_targets, indices)
            if transforms.random:
                pictures, targets, _ = plan(pictures, targets, Draws((0,), np.arange(number * size, (number + 1) * size)))
            pixels = transforms.finish(pictures, channels_last=run.runtime.channels_last)
            yield pixels, run.task.encode(targets, (pixels.shape[2], pixels.shape[3]))

    return batches


def _finished_before(run: Run) -> Callable[[], Iterator[tuple[Tensor, Any]]]:
    some = [(batch.images, batch.encoded) for _, batch in zip(range(20), run.loaders["train"].epoch(0), strict=False)]

    def batches() -> Iterator[tuple[Tensor, Any]]:
        for number in count():
            yield some[number % len(some)]

    return batches


def _shuffled(rows: Tensor, batch_size: int) -> Iterator[Tensor]:
    while True:
        order = rows[torch.randperm(len(rows), device=rows.device)]
        for start in range(0, len(rows) - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def _steps_for(loop: Loop, seconds: float) -> int:
    """How many batches take about `seconds`; also warms the loop up."""
    loop(3)
    taken = _seconds(loop, 10) / 10
    return max(10, round(seconds / taken))


def _seconds(loop: Loop, steps: int) -> float:
    started = time.perf_counter()
    loop(steps)
    return time.perf_counter() - started


def _exhaust(loader: Loader, steps: int) -> None:
    for _ in RepeatedLoader(loader, steps).epoch(0):
        pass


def _peak_memory_mib(run: Run) -> float:
    if run.runtime.device.type == "cuda":
        return torch.cuda.max_memory_allocated(run.runtime.device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _wait(run: Run) -> None:
    if run.runtime.device.type != "cpu":
        torch.accelerator.synchronize()

"""The training loop: phases of epochs, each trained, evaluated, saved. It knows no task."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from toolkit.config.run_config import FitConfig, PhaseConfig
from toolkit.data.loader import Loader
from toolkit.data.sample import Batch
from toolkit.data.tree import select, to_float32
from toolkit.errors import ConfigError, NonFiniteError, StoppedError
from toolkit.evaluation.evaluate import Loss, Pass, Scorekeeper, evaluate, total_loss
from toolkit.evaluation.metrics import Metric
from toolkit.models.model import PreparesPhases, training_output
from toolkit.task import Task
from toolkit.training.active_phase import ActivePhase
from toolkit.training.averaging import averaged_model
from toolkit.training.checkpoint import (
    Checkpoint,
    all_finite,
    link_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from toolkit.training.listener import Listener
from toolkit.training.phases import trained_part
from toolkit.training.runtime import Runtime, seed_torch
from toolkit.training.schedules import constant_rate

LOOK_EVERY_S = 0.5
"""How often the loop reads losses from the device, which makes it wait: for the progress bar and for non-finite losses."""


BatchTransform = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""(images [B, C, H, W], encoded) -> the same, mixed. It draws from torch's default generator, which is seeded before each step."""

Pending = list[tuple[tuple[str, ...], Tensor]]
"""Names and losses [B] of batches that were not looked at yet, the losses still on the device."""


@dataclass(frozen=True)
class Job:
    """All that a fit needs, built.

    build: makes an optimizer (from its config and the parameters) or a schedule (from its config and the number of steps).
    mix: what is done to every training batch as a whole, in order.
    """

    model: nn.Module
    task: Task[Any, Any, Any, Any]
    loss: Loss
    metrics: Sequence[Metric[Any]]
    train: Loader
    validation: Loader
    runtime: Runtime
    config: FitConfig
    seed: int
    checkpoints: Path
    build: Callable[..., Any]
    mix: Sequence[BatchTransform] = ()


@dataclass
class FitState:
    """How far a fit has come; together with the tensors it is the whole checkpoint.

    epoch, epoch_in_phase: completed ones. position: batches done of the next one.
    best: {"epoch", "value", "metric"} of the best epoch so far; since_best: epochs since this phase's own best.
    history: one row per completed epoch.
    """

    phase: int = 0
    epoch: int = 0
    epoch_in_phase: int = 0
    position: int = 0
    since_best: int = 0
    best: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Runs a fit from its start or from a checkpoint to its end, a signal, or a non-finite loss."""

    def __init__(self, job: Job, listener: Listener) -> None:
        self.job = job
        self.listener = listener
        self.state = FitState()
        self.averaged = averaged_model(job.model, job.config.ema) if job.config.ema else None
        self._checkpoint: Checkpoint | None = None
        self._signal = 0

    @property
    def evaluated_model(self) -> nn.Module:
        """The weights that are scored: the moving average where there is one."""
        return self.averaged.module if self.averaged else self.job.model

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint` when `run` is called."""
        saved = {name: checkpoint.state[name] for name in FitState.__dataclass_fields__}
        self.state = FitState(**saved)
        load_models(checkpoint, self.job.model, self.averaged)
        self._checkpoint = checkpoint
        self.listener.restored(self.state.history)

    def run(self) -> FitState:
        """Train all phases (or what is left of them).

        Raises:
            NonFiniteError: a loss or a weight is not finite; nothing of it was saved.
            StoppedError: SIGINT or SIGTERM came; the checkpoint `last` holds the step that was finished.
        """
        with self._stop_on_signals():
            for index in range(self.state.phase, len(self.job.config.phases)):
                if index > self.state.phase:
                    self.state.phase, self.state.epoch_in_phase, self.state.since_best = index, 0, 0
                self._run_phase(self.job.config.phases[index])
        return self.state

    def _run_phase(self, phase: PhaseConfig) -> None:
        active = self.start_phase(phase)
        early = self.job.config.select.early_stop
        while self.state.epoch_in_phase < phase.epochs:
            if early and self.state.since_best >= early:
                self.listener.log(f"no better {self.job.config.select.metric} for {early} epochs: phase '{active.name}' ends")
                break
            self._run_epoch(active)

    def start_phase(self, phase: PhaseConfig) -> ActivePhase:
        """Freeze what the phase does not train and make its optimizer and schedule, restored where a checkpoint was taken within it."""
        job = self.job
        part = trained_part(job.model, phase.train)
        part.freeze_the_rest()
        optimizer: Optimizer = job.build(phase.optimizer, part.parameters())
        rates = [group["lr"] for group in optimizer.param_groups]
        schedule = job.build(phase.schedule, phase.epochs * len(job.train)) if phase.schedule else constant_rate
        if self._checkpoint and self._checkpoint.state["phase"] == self.state.phase:
            restore_optimizer(optimizer, self._checkpoint.tensors.get("optimizer", {}), self._checkpoint.state["optimizer"])
        else:
            self._prepare(phase)
        model: nn.Module = DistributedDataParallel(job.model) if job.runtime.world > 1 else job.model
        if job.runtime.compile:
            # Without CUDA graphs: the next step would overwrite outputs that wait to be scored.
            model = cast(nn.Module, torch.compile(model))
        name = phase.train if isinstance(phase.train, str) else "+".join(phase.train)
        active = ActivePhase(name, part, model, optimizer, rates, schedule)
        active.watch(self._rows_of_phase())
        return active

    def _rows_of_phase(self) -> Sequence[Mapping[str, Any]]:
        return self.state.history[len(self.state.history) - self.state.epoch_in_phase :]

    def _prepare(self, phase: PhaseConfig) -> None:
        """Let a model that asks for it look at the validation part before the phase's first step; its moving average looks for itself."""
        job = self.job
        for model in [job.model, *([self.averaged.module] if self.averaged else [])]:
            if isinstance(model, PreparesPhases):
                model.eval()
                with torch.no_grad(), job.runtime.autocast():
                    model.prepare_phase(phase.train, job.validation.epoch(0))
                job.runtime.share(model.buffers())

    def _run_epoch(self, active: ActivePhase) -> None:
        job, state = self.job, self.state
        scores = Scorekeeper(job.task, job.metrics)
        if state.position and self._checkpoint and job.runtime.is_main:  # it holds the sums of all processes
            scores.restore(self._checkpoint.tensors["scores"], self._checkpoint.state["scores"], job.runtime.device)
        self.listener.epoch_started(active.name, state.epoch + 1, len(job.train) - state.position)
        done_before, started = state.position, time.perf_counter()
        self.train_batches(active, scores)
        images_per_s = (len(job.train) - done_before) * job.config.batch_size / (time.perf_counter() - started)
        train_scores, _ = scores.compute(job.runtime)
        job.runtime.share(self.evaluated_model.buffers())  # batch norm's statistics, which each process gathers from its own share
        validated = evaluate(self.evaluated_model, job.validation, job.task, job.loss, job.metrics, job.runtime)
        state.epoch, state.epoch_in_phase, state.position = state.epoch + 1, state.epoch_in_phase + 1, 0
        row = {"epoch": state.epoch, "phase": active.name, "lr": active.set_rate(state.epoch_in_phase * len(job.train) - 1)}
        row |= {f"train/{name}": value for name, value in train_scores.items()}
        row |= {f"val/{name}": value for name, value in validated.scores.items()}
        state.history.append(row)
        active.watch(self._rows_of_phase())
        is_best = self._note_best(row, validated)
        self._save_epoch(active, is_best)
        self.listener.epoch_ended(row, time.perf_counter() - started, images_per_s)
        self._stop_if_asked(active)

    def train_batches(self, active: ActivePhase, scores: Scorekeeper) -> None:
        """One epoch from `state.position` on."""
        job, state = self.job, self.state
        pending: Pending = []  # losses not looked at yet, still on the device
        looked = saved = time.monotonic()
        active.part.train_mode()
        for batch in job.train.epoch(state.epoch, state.position):
            step = state.epoch_in_phase * len(job.train) + state.position
            seed_torch(job.seed, state.epoch, state.position, job.runtime.rank)
            active.set_rate(step)
            losses = self._step(active, batch, scores)
            pending.append((batch.ids, losses))
            state.position += 1
            self._stop_if_asked(active, scores, pending)
            now = time.monotonic()
            if now - looked > LOOK_EVERY_S:
                self._advance(pending)
                looked = now
            if job.runtime.any_process(int(now - saved > 60 * job.config.save_minutes)):
                self._advance(pending)
                self._save("last", active, scores)
                saved = now
        self._advance(pending)

    def _step(self, active: ActivePhase, batch: Batch[Any, Any], scores: Scorekeeper) -> Tensor:
        """One optimizer step; returns the loss of each sample [B], on the device."""
        job = self.job
        active.optimizer.zero_grad(set_to_none=True)
        losses = []
        parts = _cut(batch, job.config.accumulate)
        for number, part in enumerate(parts):
            images, encoded = part.images, part.encoded
            for mix in job.mix:
                images, encoded = mix(images, encoded)
            with active.sync(last=number == len(parts) - 1):
                with job.runtime.autocast():
                    output = to_float32(training_output(active.model, images, encoded))
                terms = job.loss(output, encoded)  # in float32, as in evaluation
                total = total_loss(terms)  # [B]
                # DistributedDataParallel averages over processes, so each scales its sum up by their number.
                torch.autograd.backward(total.sum() * (job.runtime.world / job.config.batch_size))
            losses.append(total.detach())
            with torch.no_grad():
                scores.update_with_output(terms, output, part.to_original, part.truth)
        active.penalise(job.config.penalty)
        if job.config.clip_norm:
            nn.utils.clip_grad_norm_(active.part.parameters(), job.config.clip_norm)
        active.optimizer.step()
        if self.averaged:
            self.averaged.update_parameters(job.model)
        return torch.cat(losses)

    def _advance(self, pending: Pending) -> None:
        """Tell the listener of the batches since it was last told, once their losses were looked at."""
        count = len(pending)
        if count:
            self.listener.advanced(count, count * self.job.config.batch_size, self._look(pending))

    def _look(self, pending: Pending) -> float:
        """Check all losses since the last look, the only place where the loop waits for the device; the last batch's mean loss."""
        all_losses = [losses for _, losses in pending]
        healthy = not pending or bool(torch.isfinite(torch.cat(all_losses)).all())
        for ids, losses in [] if healthy else pending:
            bad = [name for name, finite in zip(ids, torch.isfinite(losses).tolist(), strict=True) if not finite]
            if bad:
                more = f" and {len(bad) - 5} more of its batch" if len(bad) > 5 else ""
                raise NonFiniteError(
                    f"the loss of sample {', '.join(bad[:5])}{more} is not finite in epoch {self.state.epoch + 1}; "
                    "look at these samples, or lower the learning rate or set fit.clip_norm; the last checkpoint is from before"
                )
        loss = float(pending[-1][1].mean()) if pending else 0.0
        pending.clear()
        return loss

    def _stop_if_asked(self, active: ActivePhase, scores: Scorekeeper | None = None, pending: Pending | None = None) -> None:
        """Within an epoch (`scores`, `pending`) the checkpoint is written now; after one it has been."""
        number = self.job.runtime.any_process(self._signal)
        if not number:
            return
        where = f"after epoch {self.state.epoch}"
        if pending is not None:
            self._look(pending)
            self._save("last", active, scores)
            where = f"in epoch {self.state.epoch + 1} after batch {self.state.position}"
        raise StoppedError(
            f"stopped by {signal.Signals(number).name} {where}; go on with `toolkit resume {self.job.checkpoints.parent}`", number
        )

    def _note_best(self, row: Mapping[str, Any], validated: Pass) -> bool:
        metric, state = self.job.config.select.metric, self.state
        name = metric.removeprefix("val/")
        if name not in validated.higher_is_better:
            raise ConfigError(
                f"no score named '{metric}'; there are: {', '.join(f'val/{n}' for n in validated.scores)}", path="fit.select.metric"
            )
        value = row.get(metric)
        best = None if state.best is None else state.best["value"]
        if value is None:
            latest = "; the latest epoch is kept until one has it" if best is None else ""
            self.listener.log(f"{metric} is undefined in epoch {state.epoch}: {validated.undefined[name]}{latest}")
        sign = 1 if validated.higher_is_better[name] else -1
        in_phase = [before[metric] for before in self._rows_of_phase()[:-1] if metric in before]
        is_better_in_phase = value is not None and all(sign * value > sign * before for before in in_phase)
        state.since_best = 0 if is_better_in_phase or state.epoch_in_phase == 1 else state.since_best + 1
        if best is None or (value is not None and sign * value > sign * best):
            state.best = {"epoch": state.epoch, "value": value, "metric": metric}
            return True
        return False

    def _save_epoch(self, active: ActivePhase, is_best: bool) -> None:
        """Save `best` first and make `last` the same: a kill between the two leaves no `last` that speaks of a best that is not there."""
        if is_best:
            self._save("best", active)
            if self.job.runtime.is_main:
                link_checkpoint(self.job.checkpoints / "best", self.job.checkpoints / "last")
        else:
            self._save("last", active)

    def _save(self, name: str, active: ActivePhase, scores: Scorekeeper | None = None) -> None:
        job = self.job
        tensors: dict[str, Mapping[str, Tensor]] = {"model": job.model.state_dict()}
        if self.averaged:
            tensors["ema"] = self.averaged.state_dict()
        if not all_finite(tensors["model"]):
            raise NonFiniteError(f"a weight is not finite after epoch {self.state.epoch}; lower the learning rate or set fit.clip_norm")
        optimizer, optimizer_state = optimizer_tensors(active.optimizer)
        tensors["optimizer"] = optimizer
        state = {**vars(self.state), "optimizer": optimizer_state}
        if scores and self.state.position:
            tensors["scores"], state["scores"] = scores.state(job.runtime)
        if job.runtime.is_main:
            save_checkpoint(job.checkpoints / name, tensors, state)
        job.runtime.barrier()

    @contextlib.contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM set a flag that the loop reads after each step; a second one interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self._signal:
                raise KeyboardInterrupt
            self._signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def load_models(checkpoint: Checkpoint, model: nn.Module, averaged: AveragedModel | None) -> None:
    """Put the checkpoint's weights into the model, and into its moving average where it has one.

    Raises: CheckpointError if they do not fit.
    """
    load_weights(model, checkpoint, "model")
    if averaged is not None:
        load_weights(averaged, checkpoint, "ema")


def _cut(batch: Batch[Any, Any], parts: int) -> list[Batch[Any, Any]]:
    if parts == 1:
        return [batch]
    size = -(-len(batch) // parts)
    return [select(batch, slice(start, start + size)) for start in range(0, len(batch), size)]

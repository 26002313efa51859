"""The toolkit's own training loop, validation and saving left out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers.contender import WARM_UP
from peers.job import Job
from toolkit.evaluation.evaluate import Scorekeeper
from toolkit.training.fit import Trainer
from toolkit.training.listener import SilentListener
from toolkit.training.runtime import active


class ToolkitLoop:
    """`Trainer.train_batches` on the job's own loader, with the engine, precision and layout that the toolkit chose."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._rate = 0.0

    def images_per_s(self, seconds: float) -> float:
        """The rate over about `seconds`. Scores are gathered as in a run; the listener hears of them and does nothing."""
        run = self._job.run
        with active(run.runtime):
            trainer = Trainer(replace(run.job(Path()), config=replace(run.config.fit, save_minutes=math.inf)), SilentListener())
            phase = trainer.start_phase(run.config.fit.phases[0])
            if not self._rate:
                self._rate = self._timed(trainer, phase, WARM_UP, 5)
            self._rate = self._timed(trainer, phase, WARM_UP, max(5, round(seconds * self._rate / self._job.batch_size)))
            return self._rate

    def close(self) -> None:
        """End the run's workers."""
        self._job.run.close()

    def _timed(self, trainer: Trainer, phase: Any, warm_up: int, batches: int) -> float:
        self._train(trainer, phase, warm_up)
        self._job.wait()
        started = time.perf_counter()
        self._train(trainer, phase, batches)
        self._job.wait()
        return batches * self._job.batch_size / (time.perf_counter() - started)

    def _train(self, trainer: Trainer, phase: Any, batches: int) -> None:
        """So many batches, each stretch the last ones of an epoch."""
        run, state = self._job.run, trainer.state
        while batches > 0:
            some = min(batches, len(trainer.job.train))
            state.position = len(trainer.job.train) - some
            trainer.train_batches(phase, Scorekeeper(run.task, run.metrics))
            state.epoch, state.position = state.epoch + 1, 0
            batches -= some

"""Methods that are fitted, not trained: one look at every training batch, then the same evaluation and checkpoints as after an epoch."""

from __future__ import annotations

import time

import torch

from toolkit.errors import ConfigError, NonFiniteError
from toolkit.evaluation.evaluate import evaluate
from toolkit.models.model import OnePass
from toolkit.training.checkpoint import Checkpoint, all_finite, link_checkpoint, load_weights, save_checkpoint
from toolkit.training.fit import FitState, Job
from toolkit.training.listener import Listener


def fit_in_one_pass(job: Job, listener: Listener, checkpoint: Checkpoint | None) -> FitState:
    """Show the model all training batches; its checkpoint is both `best` and `last`. A run that was killed before begins anew.

    Raises:
        ConfigError: the model cannot be fitted so, or there are several processes.
        NonFiniteError: what the model kept is not finite; nothing was saved.
    """
    if not isinstance(job.model, OnePass):
        raise ConfigError(f"fit.name is one_pass, but {type(job.model).__name__} is trained by gradients; give fit.phases instead")
    if job.runtime.world > 1:
        raise ConfigError(f"fit.name is one_pass, which one process does; got {job.runtime.world}: start it without torchrun")
    if checkpoint is not None:
        load_weights(job.model, checkpoint, "model")
        state = FitState(**{name: checkpoint.state[name] for name in FitState.__dataclass_fields__})
        listener.restored(state.history)
        return state
    started = time.perf_counter()
    _show_all(job, job.model, listener)
    images_per_s = len(job.train.sample_ids()) / (time.perf_counter() - started)
    validated = evaluate(job.model, job.validation, job.task, job.loss, job.metrics, job.runtime)
    row = {"epoch": 1, "phase": "one_pass"} | {f"val/{name}": value for name, value in validated.scores.items()}
    best = {"epoch": 1, "value": row.get(job.config.select.metric), "metric": job.config.select.metric}
    state = FitState(epoch=1, best=best, history=[row])
    tensors = job.model.state_dict()
    if not all_finite(tensors):
        raise NonFiniteError(
            "what the model kept of the training pictures is not finite; look at its backbone's weights and at the pictures"
        )
    save_checkpoint(job.checkpoints / "best", {"model": tensors}, vars(state))
    link_checkpoint(job.checkpoints / "best", job.checkpoints / "last")
    listener.epoch_ended(row, time.perf_counter() - started, images_per_s)
    return state


def _show_all(job: Job, model: OnePass, listener: Listener) -> None:
    job.model.eval()
    listener.epoch_started("one_pass", 1, len(job.train))
    with torch.no_grad(), job.runtime.autocast():
        for batch in job.train.epoch(0):
            model.observe(batch.images)
            listener.advanced(1, len(batch), 0.0)
        model.finish()

"""Lightning's Trainer on a LightningModule and a DataLoader as its tutorial shows."""

from __future__ import annotations

import importlib
import logging
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from peers.contender import AbsentError, Choice, Stopwatch
from peers.job import Job
from peers.plain import plain_model
from peers.recipes import RECIPES, tutorial_loader

COMPROMISED = ("2.6.2", "2.6.3")
"""Releases that were tampered with; they are not imported."""
_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class LightningLoop:
    """The Trainer without logger, checkpoints, progress bar and summary, which would only slow it down.

    Raises: AbsentError if Lightning is not installed, or one of its compromised releases is.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lightning = lightning()
        for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds`."""
        runtime, recipe = self._job.run.runtime, RECIPES[self._job.name]
        watch = Stopwatch(seconds, self._job.wait)
        torch.set_num_threads(runtime.threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on the number of workers
            model = plain_model(self._job)
            trainer = self._lightning.Trainer(
                accelerator="gpu" if runtime.device.type == "cuda" else "cpu",
                devices=1,
                precision=_PRECISION[choice.precision],
                max_epochs=-1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[_until(self._lightning, watch)],
            )
            trainer.fit(_module(self._lightning, model, recipe), tutorial_loader(self._job, recipe, choice))
        return watch.images_per_s

    def close(self) -> None:
        """Nothing is left running."""


def lightning() -> Any:
    """The module `lightning.pytorch`, under its own or its older name."""
    for distribution, module in (("lightning", "lightning.pytorch"), ("pytorch-lightning", "pytorch_lightning")):
        try:
            found = version(distribution)
        except PackageNotFoundError:
            continue
        if found in COMPROMISED:
            raise AbsentError(f"{distribution} {found} is a compromised release; install another one")
        return importlib.import_module(module)
    raise AbsentError("lightning is not installed; pip install -e '.[benchmarks]'")


def _module(lightning: Any, model: torch.nn.Module, recipe: Any) -> Any:
    class Lit(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            images, labels = batch
            loss = recipe.loss(self.model(images), images, labels)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return recipe.optimizer(self.parameters())

    return Lit()


def _until(lightning: Any, watch: Stopwatch) -> Any:
    class Until(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if watch.batch_done(len(batch[0])):
                trainer.should_stop = True

    return Until()

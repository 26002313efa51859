"""timm's pieces as its `train.py` joins them: `create_loader` with its prefetcher, `create_optimizer_v2`, `AverageMeter`."""

from __future__ import annotations

from typing import Any

import torch

from peers.contender import Choice, Stopwatch
from peers.job import Job
from peers.plain import plain_model
from peers.recipes import RECIPES, Pictures, Recipe

LOG_EVERY = 50
"""`train.py`'s log_interval: so often it reads the loss."""


class TimmLoop:
    """timm's loader collates bytes, and its prefetcher makes floats of whole batches and normalises them."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds`."""
        from timm.optim import create_optimizer_v2
        from timm.utils import AverageMeter

        runtime, recipe = self._job.run.runtime, RECIPES[self._job.name]
        torch.set_num_threads(runtime.threads)
        model = plain_model(self._job)
        wanted = recipe.optimizer(model.parameters())
        options = {name: wanted.defaults[name] for name in ("lr", "weight_decay", "momentum") if name in wanted.defaults}
        optimizer = create_optimizer_v2(model, opt=type(wanted).__name__.lower(), **options)
        losses, loader = AverageMeter(), self._loader(recipe, choice)
        watch = Stopwatch(seconds, self._job.wait)
        while True:
            for number, (images, labels) in enumerate(loader):
                with torch.autocast(runtime.device.type, torch.bfloat16, enabled=choice.precision == "bfloat16"):
                    loss = recipe.loss(model(images), images, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if number % LOG_EVERY == 0:
                    losses.update(loss.item(), len(images))
                if watch.batch_done(len(images)):
                    return watch.images_per_s

    def close(self) -> None:
        """Nothing is left running."""

    def _loader(self, recipe: Recipe, choice: Choice) -> Any:
        from timm.data import create_loader
        from timm.data.transforms import ToNumpy
        from torchvision.transforms import Compose

        device = self._job.run.runtime.device
        dataset = Pictures(self._job.pictures, self._job.labels, ToNumpy())
        _, height, width, channels = dataset.pictures.shape + (1,) * (4 - dataset.pictures.ndim)
        loader = create_loader(
            dataset,
            (channels, height, width),
            self._job.batch_size,
            is_training=True,
            mean=recipe.mean or (0.0,) * channels,
            std=recipe.std or (1.0,) * channels,
            num_workers=choice.workers,
            pin_memory=device.type == "cuda",
            device=device,
        )
        dataset.transform = Compose([*recipe.random, ToNumpy()])  # in the place of ImageNet's crops and colours, which it has put there
        return loader

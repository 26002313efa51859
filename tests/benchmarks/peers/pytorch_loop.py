"""The loop of PyTorch's own tutorial: a DataLoader of torchvision transforms, five lines a step."""

from __future__ import annotations

import torch

from peers.contender import Choice, Stopwatch
from peers.job import Job
from peers.plain import plain_model
from peers.recipes import RECIPES, tutorial_loader


class PytorchLoop:
    """Plain PyTorch on the job's network."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        """The rate over about `seconds`."""
        runtime, recipe = self._job.run.runtime, RECIPES[self._job.name]
        torch.set_num_threads(runtime.threads)
        model = plain_model(self._job)
        optimizer = recipe.optimizer(model.parameters())
        loader = tutorial_loader(self._job, recipe, choice)
        watch = Stopwatch(seconds, self._job.wait)
        while True:
            for images, labels in loader:
                images = images.to(runtime.device, non_blocking=True)
                labels = labels.to(runtime.device, non_blocking=True)
                optimizer.zero_grad()
                with torch.autocast(runtime.device.type, torch.bfloat16, enabled=choice.precision == "bfloat16"):
                    loss = recipe.loss(model(images), images, labels)
                loss.backward()
                optimizer.step()
                if watch.batch_done(len(images)):
                    return watch.images_per_s

    def close(self) -> None:
        """Nothing is left running."""

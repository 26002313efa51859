"""The five jobs as users of plain PyTorch write them: torchvision transforms of PIL pictures, a loss, one of torch's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from torchvision.transforms import functional as TF

from peers.contender import Choice
from peers.job import Job

Loss = Callable[[Any, Tensor, Tensor], Tensor]
"""(output, images, labels) -> a number."""


@dataclass(frozen=True)
class Recipe:
    """A job in torchvision's words.

    random: transforms of a PIL picture, drawn anew for each sample.
    mean, std: of each channel, of pixels in [0, 1]; none leaves those as they are.
    """

    random: Sequence[Callable[[Any], Any]]
    loss: Loss
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def transform(self) -> Callable[[Any], Any]:
        """PIL picture -> [C, H, W] float, as torchvision's tutorials compose it."""
        normalize = [T.Normalize(self.mean, self.std)] if self.mean else []
        return T.Compose([*self.random, T.ToTensor(), *normalize])


class Pictures(Dataset[Any]):
    """Arrays as `torchvision.datasets.MNIST` and `CIFAR10` serve them: a PIL picture for each sample, transformed, and its label."""

    def __init__(self, pictures: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], transform: Callable[[Any], Any]) -> None:
        self.pictures = pictures[..., 0] if pictures.shape[3] == 1 else pictures
        self.labels = labels.tolist()
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """The transformed picture and its label."""
        return self.transform(Image.fromarray(self.pictures[index])), self.labels[index]

    def __len__(self) -> int:
        return len(self.pictures)


def tutorial_loader(job: Job, recipe: Recipe, choice: Choice) -> DataLoader[Any]:
    """A DataLoader as tutorials write it, its workers kept between epochs."""
    return DataLoader(
        Pictures(job.pictures, job.labels, recipe.transform()),
        batch_size=job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=choice.workers,
        persistent_workers=choice.workers > 0,
        pin_memory=job.run.runtime.device.type == "cuda",
    )


def _turn_by_right_angles(picture: Any) -> Any:
    return TF.rotate(picture, 90 * int(torch.randint(4, ())))


def _class_loss(output: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(output, labels)


def _time_loss(output: Any, images: Tensor, labels: Tensor) -> Tensor:
    return 0.6 * F.cross_entropy(output.hour, labels // 60) + 0.4 * F.cross_entropy(output.minute, labels % 60)


def _reconstruction_loss(output: Any, images: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(output.reconstruction, images)


def _adam(rate: float) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


_BILINEAR = T.InterpolationMode.BILINEAR
_GREY = {"mean": (0.1307,), "std": (0.3081,)}

RECIPES: Mapping[str, Recipe] = {
    "mlp": Recipe([T.RandomAffine(10, translate=(0.05, 0.05), interpolation=_BILINEAR)], _class_loss, _adam(1e-3), **_GREY),
    "cnn": Recipe([], _class_loss, _adam(1e-3), **_GREY),
    "alexnet": Recipe(
        [T.RandomCrop(32, padding=4), T.RandomHorizontalFlip()],
        _class_loss,
        lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=5e-4),
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
    ),
    "clock": Recipe([T.RandomRotation(15, interpolation=_BILINEAR)], _time_loss, _adam(3e-4)),
    "autoencoder": Recipe([T.RandomHorizontalFlip(), T.RandomVerticalFlip(), _turn_by_right_angles], _reconstruction_loss, _adam(1e-3)),
}
"""By the name of the job; they do what `jobs/<name>.yaml` says."""

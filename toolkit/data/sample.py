"""What flows from a data set to a model: `Sample`, `Target`, `Batch`, and what describes a data set: `DataInfo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

Split = Literal["train", "validation", "test"]
Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Base of every task's target: a frozen dataclass of tensors that may be one sample's or a whole batch's.

    A target that carries geometry says so with `moves = True` and overrides `points`, `mask` and `moved`;
    one that does not (a class label) pays nothing for it.
    """

    moves: ClassVar[bool] = False

    def points(self) -> Tensor | None:
        """[..., K, 2] x, y in pixels of the current picture; they are warped with it, never dropped or reordered."""
        return None

    def mask(self) -> Tensor | None:
        """[..., H, W] uint8, warped with the picture by nearest neighbour."""
        return None

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        """The target after a transform.

        Args:
            points, mask: as above, after the transform.
            mirrored: [...] bool, whether the transform turned the picture's orientation (left and right are to be swapped).

        Raises: DataError where the task cannot bear it (a mirrored clock face).
        """
        return self


TargetT = TypeVar("TargetT", bound=Target)
EncodedT = TypeVar("EncodedT")


@dataclass(frozen=True)
class Sample(Generic[TargetT]):
    """One picture with what is known about it.

    Args:
        id: names the sample in messages and reports; unique in its data set.
        image: [H, W, C] uint8, C = 1 or 3 (RGB).
        target: in pixels of `image`.
        truth: what metrics see, in pixels of the file; the target where nothing is given.
        to_original: [3, 3] homography from pixels of `image` to pixels of the file. It undoes what albumentations does to
            keypoints, whose conventions differ: flips mirror about the middle of the first and last pixel's centres
            (x -> W - 1 - x), resizing multiplies (x -> s x, without the half pixel that the picture itself is moved by).
    """

    id: str
    image: Pixels
    target: TargetT
    truth: Any = None
    to_original: Matrix = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        if self.truth is None:
            object.__setattr__(self, "truth", self.target)


@dataclass(frozen=True)
class Batch(Generic[TargetT, EncodedT]):
    """B samples on the device.

    Args:
        ids: one per sample.
        images: [B, C, H, W] float, as the model wants them.
        targets: after the transforms, pixels of `images`.
        encoded: what the loss sees, network units (`Task.encode`).
        truth: what metrics see, file units; a tuple where ragged.
        to_original: [B, 3, 3] from pixels of `images` to pixels of the file.
    """

    ids: tuple[str, ...]
    images: Tensor
    targets: TargetT
    encoded: EncodedT
    truth: Any
    to_original: Tensor

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class DataInfo:
    """What a data set tells models, metrics and plots. Tasks extend it (class names, a skeleton, ...).

    input_shape: C, H, W of the pictures. A data set gives that of its files (0 where they differ);
        the core replaces it by the shape after the eval transforms before anything else is built.
    """

    input_shape: tuple[int, int, int]

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the outputs of a model stand for, in order, such as classes: data that name others are refused. (): nothing to name."""
        return ()

    @property
    def num_outputs(self) -> int:
        """How many numbers a plain linear head gives for one sample."""
        raise TypeError(f"{type(self).__name__} does not say how many outputs a plain head has; use a head of the task's own")


class Dataset(Sequence[Sample[TargetT]], Generic[TargetT]):
    """Base of every data set: a sequence of samples without any transform applied. `factory(split, /, *, options)`.

    info: describes the samples.
    splits: the parts the data set itself publishes. Where "validation" is not among them, the core cuts one from
        "train" (`data.validation` in the config). Where "test" is not, runs have no test scores.
    """

    info: DataInfo

    @property
    def splits(self) -> tuple[Split, ...]:
        """What the data set publishes; asked of the instance made for "train"."""
        return ("train", "test")

    def signature(self) -> str | None:
        """A digest of all that the samples are made of (`signature.files_signature`), by which prepared pictures are found again.

        None: they cannot be told from others, or take no time to make, and are never kept in the cache on disk.
        """
        return None

    def groups(self) -> Sequence[str] | None:
        """The group of each sample, asked of the instance made for "train": a cut for validation never divides a group.

        For samples that show nearly the same thing: people of one picture, frames of one film. None: each sample stands for itself.
        """
        return None

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`. Raises: DataError naming the file, where it cannot be read."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

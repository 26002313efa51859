"""`image_folder`: your own pictures, one folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt

from toolkit.data.images import is_image_name, read_image
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Dataset, Sample, Split
from toolkit.data.signature import files_signature
from toolkit.errors import DataError
from toolkit_classification.types import ClassificationInfo, LabelTarget

_PART_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


class ImageFolder(Dataset[LabelTarget]):
    """Pictures sorted into one folder per class: `<root>/<class>/<picture>`.

    If root has a folder `train` and beside it `test`, `val` or `validation`, these are the parts, each with one folder per class.
    Otherwise all pictures are one pool and a test part is cut from it, with the same share of every class.
    Classes are the folders' names, sorted. Files that are no pictures and hidden ones are passed over.

    Args:
        root: the folder; relative ones are below TOOLKIT_DATA.
        test_share: share of each class that becomes the test part, where the folder has no parts of its own.
        split_seed: which pictures those are; the same files and seed give the same parts.
        channels: 3 reads pictures as RGB, 1 as grey.
        limit: keep only so many samples of each part, spread over the classes, to try something out.

    Raises: DataError for a folder that is missing or empty, a class without pictures, or parts whose classes differ.
    """

    info: ClassificationInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        root: str,
        test_share: Annotated[float, Gt(0), Lt(1)] = 0.2,
        split_seed: Annotated[int, Ge(0)] = 0,
        channels: Literal[1, 3] = 3,
        limit: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        self.root = require_folder(data_path(root), "one folder of pictures per class")
        parts = _published_parts(self.root)
        self._splits: tuple[Split, ...] = tuple(parts) or ("train", "test")
        if split not in self._splits:
            raise ValueError(f"{self.root} has no split '{split}'; it has {', '.join(self._splits)}")
        _check_same_classes(parts)
        pictures = _pictures_by_class(parts.get(split, self.root))
        if not parts:
            pictures = {name: _cut(files, split, test_share, (split_seed, n)) for n, (name, files) in enumerate(pictures.items())}
        self.files = [(file, label) for label, files in enumerate(pictures.values()) for file in files]
        if limit is not None and limit < len(self.files):
            self.files = [self.files[n * len(self.files) // limit] for n in range(limit)]
        self.channels = channels
        self.info = ClassificationInfo((channels, 0, 0), tuple(pictures))

    @property
    def splits(self) -> tuple[Split, ...]:
        """The parts found in the folder, or train and test where they are cut here."""
        return self._splits

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`, its id the path below root. Raises: DataError naming the file, where it cannot be read."""
        file, label = self.files[index]
        image = read_image(file, channels=self.channels)
        return Sample(file.relative_to(self.root).as_posix(), image, LabelTarget(torch.tensor(label)))

    def __len__(self) -> int:
        return len(self.files)

    def signature(self) -> str:
        """Of the files and their classes."""
        return files_signature([file for file, _ in self.files], [label for _, label in self.files], self.channels, str(self.root))


def _published_parts(root: Path) -> dict[Split, Path]:
    """The part folders below `root`; none where train is the only one, which is then a class like any other."""
    parts = {split: root / name for split, names in _PART_FOLDERS.items() for name in names if (root / name).is_dir()}
    return parts if "train" in parts and len(parts) > 1 else {}


def _check_same_classes(parts: dict[Split, Path]) -> None:
    if not parts:
        return
    expected = set(_class_names(parts["train"]))
    for folder in parts.values():
        for name in sorted(expected.symmetric_difference(_class_names(folder))):
            having, lacking = (parts["train"], folder) if name in expected else (folder, parts["train"])
            raise DataError(f"{having / name} is a class, but {lacking} has no folder '{name}'; every part needs the same classes")


def _pictures_by_class(folder: Path) -> dict[str, list[Path]]:
    names = _class_names(folder)
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "none"
        raise DataError(f"{folder} needs at least two folders, one per class, with pictures in them; found {found}")
    pictures = {name: sorted(file for file in (folder / name).iterdir() if _is_picture(file)) for name in names}
    for name, files in pictures.items():
        if not files:
            raise DataError(f"class folder {folder / name} has no pictures; add some or remove it")
    return pictures


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_picture(file: Path) -> bool:
    return is_image_name(file) and file.is_file()


def _cut(files: list[Path], split: Split, test_share: float, seed: tuple[int, int]) -> list[Path]:
    """One class's part of the pool, in order of names; a class always keeps a picture to train with."""
    num_test = min(round(len(files) * test_share), len(files) - 1)
    in_test = set(np.random.default_rng(seed).permutation(len(files))[:num_test].tolist())
    return [file for n, file in enumerate(files) if (n in in_test) == (split == "test")]

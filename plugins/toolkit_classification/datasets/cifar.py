"""CIFAR-10 and CIFAR-100 from the binary release, or from the pickles that torchvision uses."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.data.locate import data_path
from toolkit.data.sample import Pixels, Split
from toolkit.errors import DataError
from toolkit_classification.datasets.in_memory import (
    Limit,
    PicturesInMemory,
    check_split,
    download_with_torchvision,
    nothing_there,
    readable,
)

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew
skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout
tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_CLASSES = tuple(_CIFAR100_NAMES.split())
"""The hundred fine labels in their published order, which is the alphabet's."""

_PICTURE_BYTES = 3 * 32 * 32  # planes R, G, B, row by row


@dataclass(frozen=True)
class _Release:
    """How one of the two is published.

    name: torchvision's.
    binary, pickled: folder of each release.
    files: of the binary release, by part, without `.bin`.
    file_records: pictures in each of them, by part.
    label_bytes: before each picture; the last is the label.
    first_pickle: named where nothing is found.
    """

    title: str
    name: str
    binary: str
    pickled: str
    files: Mapping[str, tuple[str, ...]]
    file_records: Mapping[str, int]
    label_bytes: int
    first_pickle: str
    classes: tuple[str, ...]


_CIFAR10 = _Release(
    title="CIFAR-10",
    name="CIFAR10",
    binary="cifar-10-batches-bin",
    pickled="cifar-10-batches-py",
    files={"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
    file_records={"train": 10_000, "test": 10_000},
    label_bytes=1,
    first_pickle="data_batch_1",
    classes=CIFAR10_CLASSES,
)
_CIFAR100 = _Release(
    title="CIFAR-100",
    name="CIFAR100",
    binary="cifar-100-binary",
    pickled="cifar-100-python",
    files={"train": ("train",), "test": ("test",)},
    file_records={"train": 50_000, "test": 10_000},
    label_bytes=2,  # one of 20 coarse classes, then the fine one
    first_pickle="train",
    classes=CIFAR100_CLASSES,
)


def cifar10(split: Split, /, *, root: str = ".", download: bool = False, limit: Limit = None) -> PicturesInMemory:
    """Photographs of animals and vehicles, 32x32 colour, 50,000 to train with and 10,000 to test (Krizhevsky, technical report, 2009).

    Args:
        root: folder that holds the binary release, `cifar-10-batches-bin/`, or the Python one that torchvision uses,
            `cifar-10-batches-py/`; relative ones are below TOOLKIT_DATA. The binary one is preferred: the other holds pickles,
            which are opened only if their MD5 is the published one.
        download: fetch what is missing with torchvision.
        limit: keep only the first so many samples of each part, to try something out.

    Raises: DataError naming the file that is missing or damaged; ResourceError if the download fails.
    """
    return _read(_CIFAR10, split, root, download, limit)


def cifar100(split: Split, /, *, root: str = ".", download: bool = False, limit: Limit = None) -> PicturesInMemory:
    """Photographs of a hundred kinds of things, 32x32 colour, 50,000 to train with and 10,000 to test (Krizhevsky, technical report, 2009).

    Args:
        root: folder that holds the binary release, `cifar-100-binary/`, or the Python one that torchvision uses,
            `cifar-100-python/`; relative ones are below TOOLKIT_DATA. The binary one is preferred: the other holds pickles,
            which are opened only if their MD5 is the published one.
        download: fetch what is missing with torchvision.
        limit: keep only the first so many samples of each part, to try something out.

    Raises: DataError naming the file that is missing or damaged; ResourceError if the download fails.
    """
    return _read(_CIFAR100, split, root, download, limit)


def _read(release: _Release, split: Split, root: str, download: bool, limit: int | None) -> PicturesInMemory:
    check_split(release.name.lower(), split)
    below = data_path(root)
    binary, pickled = below / release.binary, below / release.pickled
    if download and not binary.is_dir():
        download_with_torchvision(release.name, below)
    if not binary.is_dir() and not pickled.is_dir():
        first = binary / f"{release.files['train'][0]}.bin"
        raise nothing_there(release.title, below, first, f" or {pickled / release.first_pickle}")
    pixels, labels = _read_binary(release, binary, split) if binary.is_dir() else _read_pickled(release, pickled, split)
    source = binary if binary.is_dir() else pickled
    return PicturesInMemory(split, pixels[:limit], labels[:limit], release.classes, source)


def _read_binary(release: _Release, folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    record_bytes = release.label_bytes + _PICTURE_BYTES
    expected = release.file_records[split] * record_bytes
    records = []
    for name in release.files[split]:
        file = folder / f"{name}.bin"
        found = file.stat().st_size if file.is_file() else None
        if found != expected:
            problem = "is missing" if found is None else f"is damaged: found {found:,} bytes"
            raise DataError(f"{file} {problem}; expected {expected:,} bytes; fetch it again")
        with readable(file):
            records.append(np.fromfile(file, dtype=np.uint8).reshape(-1, record_bytes))
    both = np.concatenate(records)
    pixels = both[:, release.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), both[:, release.label_bytes - 1]


def _read_pickled(release: _Release, folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.int64]]:
    import torchvision.datasets  # slow to import, rarely needed

    reader: Any = getattr(torchvision.datasets, release.name)
    for name, published in [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]:
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing; fetch it again, or set data.download=true")
        with readable(file):
            found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        if found != published:
            raise DataError(f"{file} is damaged: found MD5 {found}; expected {published}; fetch it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy 2.4 dislikes how NumPy 1 wrote these pickles
        data = reader(str(folder.parent), train=split == "train")
    return data.data, np.asarray(data.targets)

"""MNIST and Fashion-MNIST from idx files, laid out as torchvision lays them out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

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

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""Fashion-MNIST's names; "T-shirt" is its "T-shirt/top", shortened because a slash would split the names of scores."""


def mnist(split: Split, /, *, root: str = ".", download: bool = False, limit: Limit = None) -> PicturesInMemory:
    """Handwritten digits, 28x28 grey, 60,000 to train with and 10,000 to test (LeCun, Bottou, Bengio, Haffner, Proc. IEEE 1998).

    Args:
        root: folder that holds `MNIST/raw/train-images-idx3-ubyte` and its three companions, as torchvision lays them out;
            relative ones are below TOOLKIT_DATA.
        download: fetch what is missing with torchvision.
        limit: keep only the first so many samples of each part, to try something out.

    Raises: DataError naming the file that is missing or damaged; ResourceError if the download fails.
    """
    return _idx_dataset("MNIST", split, DIGITS, root, download, limit)


def fashion_mnist(split: Split, /, *, root: str = ".", download: bool = False, limit: Limit = None) -> PicturesInMemory:
    """Pieces of clothing, 28x28 grey, 60,000 to train with and 10,000 to test (Xiao, Rasul, Vollgraf, arXiv:1708.07747).

    Args:
        root: folder that holds `FashionMNIST/raw/train-images-idx3-ubyte` and its three companions, as torchvision lays them out;
            relative ones are below TOOLKIT_DATA.
        download: fetch what is missing with torchvision.
        limit: keep only the first so many samples of each part, to try something out.

    Raises: DataError naming the file that is missing or damaged; ResourceError if the download fails.
    """
    return _idx_dataset("FashionMNIST", split, CLOTHES, root, download, limit)


def _idx_dataset(name: str, split: Split, classes: tuple[str, ...], root: str, download: bool, limit: int | None) -> PicturesInMemory:
    check_split(name, split)
    below = data_path(root)
    folder, part = below / name / "raw", "train" if split == "train" else "t10k"
    images_file, labels_file = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
    if download and not (images_file.is_file() and labels_file.is_file()):
        download_with_torchvision(name, below)
    for file in (images_file, labels_file):
        if not file.is_file() and (packed := file.with_name(file.name + ".gz")).is_file():
            raise DataError(f"{packed} is packed, expected {file} beside it; run: gunzip -k {packed}")
        if not file.is_file():
            raise nothing_there(name, below, file)
    pixels, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1)
    if len(pixels) != len(labels):
        raise DataError(f"{images_file} has {len(pixels)} pictures, but {labels_file} has {len(labels)} labels; fetch both again")
    return PicturesInMemory(split, pixels[:limit, :, :, None], labels[:limit], classes, labels_file)


def _read_idx(file: Path, dimensions: int) -> Pixels:
    """The bytes of an idx file, after what its header says was held against its size."""
    with readable(file), file.open("rb") as stream:
        header = stream.read(4 * (dimensions + 1))
    magic = bytes((0, 0, 8, dimensions))  # 8: unsigned bytes
    start = header[:4].hex(" ") or "nothing"
    if header[:4] != magic or len(header) < 4 * (dimensions + 1):
        raise DataError(f"{file} is no idx file with {dimensions} axes: it starts with {start}, expected {magic.hex(' ')}; fetch it again")
    shape = np.frombuffer(header[4:], dtype=">u4").tolist()
    expected, found = len(header) + math.prod(shape), file.stat().st_size
    if found != expected:
        raise DataError(
            f"{file} is damaged: found {found:,} bytes; expected {expected:,} for {' x '.join(map(str, shape))} values; fetch it again"
        )
    with readable(file):
        return np.fromfile(file, dtype=np.uint8, offset=len(header)).reshape(shape)

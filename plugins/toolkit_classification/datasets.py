"""MNIST, Fashion-MNIST and CIFAR-10 from local files, read as torchvision reads them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
import tarfile
import warnings
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge

from toolkit.data.locate import data_path
from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit.errors import DataError, ResourceError
from toolkit_classification.types import ClassificationInfo, LabelTarget

Limit = Annotated[int, Ge(1)] | None

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""Fashion-MNIST's names; "T-shirt" is its "T-shirt/top", shortened because a slash would split the names of scores."""
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CIFAR10_FILES: dict[str, tuple[str, ...]] = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}
_CIFAR10_BIN_BYTES = 10_000 * (1 + 3 * 32 * 32)  # one byte of label, then the planes R, G, B, row by row


class PicturesInMemory(Dataset[LabelTarget]):
    """Labelled pictures that lie in memory as one array; a sample's image is a view into it.

    Args:
        split: the first part of every sample's id.
        pixels: [samples, H, W, C] uint8.
        labels: [samples] whole numbers.
        classes: their names.
        source: named where a label is not in 0 .. len(classes) - 1.

    Raises: DataError for such a label.
    """

    info: ClassificationInfo

    def __init__(self, split: Split, pixels: Pixels, labels: npt.NDArray[Any], classes: tuple[str, ...], source: Path) -> None:
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            raise DataError(
                f"{source}: sample {split}/{wrong[0]:05d} has label {labels[wrong[0]]}; expected 0 to {len(classes) - 1}; "
                "delete the file and fetch it again"
            )
        self.split = split
        self.pixels = pixels
        self.labels = torch.from_numpy(labels.astype(np.int64))
        _, height, width, channels = pixels.shape
        self.info = ClassificationInfo((channels, height, width), classes)

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`; negative ones count from the end."""
        index = range(len(self.pixels))[index]
        return Sample(f"{self.split}/{index:05d}", self.pixels[index], LabelTarget(self.labels[index]))

    def __len__(self) -> int:
        return len(self.pixels)


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
    _check_split("cifar10", split)
    below = data_path(root)
    binary, pickled = below / "cifar-10-batches-bin", below / "cifar-10-batches-py"
    if download and not binary.is_dir():
        _download("CIFAR10", below)
    if not binary.is_dir() and not pickled.is_dir():
        raise _nothing_there("CIFAR-10", below, binary / "data_batch_1.bin", f" or {pickled}/data_batch_1")
    pixels, labels = _read_cifar10_binary(binary, split) if binary.is_dir() else _read_cifar10_pickled(pickled, split)
    source = binary if binary.is_dir() else pickled
    return PicturesInMemory(split, pixels[:limit], labels[:limit], CIFAR10_CLASSES, source)


def _idx_dataset(name: str, split: Split, classes: tuple[str, ...], root: str, download: bool, limit: int | None) -> PicturesInMemory:
    _check_split(name, split)
    below = data_path(root)
    folder, part = below / name / "raw", "train" if split == "train" else "t10k"
    images_file, labels_file = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
    if download and not (images_file.is_file() and labels_file.is_file()):
        _download(name, below)
    for file in (images_file, labels_file):
        if not file.is_file() and (packed := file.with_name(file.name + ".gz")).is_file():
            raise DataError(f"{packed} is packed, expected {file} beside it; run: gunzip -k {packed}")
        if not file.is_file():
            raise _nothing_there(name, below, file)
    pixels, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1)
    if len(pixels) != len(labels):
        raise DataError(f"{images_file} has {len(pixels)} pictures, but {labels_file} has {len(labels)} labels; fetch both again")
    return PicturesInMemory(split, pixels[:limit, :, :, None], labels[:limit], classes, labels_file)


def _read_idx(file: Path, dimensions: int) -> Pixels:
    """The bytes of an idx file, after what its header says was held against its size."""
    with _readable(file), file.open("rb") as stream:
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
    with _readable(file):
        return np.fromfile(file, dtype=np.uint8, offset=len(header)).reshape(shape)


def _read_cifar10_binary(folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    records = []
    for name in _CIFAR10_FILES[split]:
        file = folder / f"{name}.bin"
        found = file.stat().st_size if file.is_file() else None
        if found != _CIFAR10_BIN_BYTES:
            problem = "is missing" if found is None else f"is damaged: found {found:,} bytes"
            raise DataError(f"{file} {problem}; expected {_CIFAR10_BIN_BYTES:,} bytes; fetch it again")
        with _readable(file):
            records.append(np.fromfile(file, dtype=np.uint8).reshape(10_000, 3073))
    both = np.concatenate(records)
    return np.ascontiguousarray(both[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), both[:, 0]


def _read_cifar10_pickled(folder: Path, split: Split) -> tuple[Pixels, npt.NDArray[np.int64]]:
    from torchvision.datasets import CIFAR10 as reader  # noqa: N811  (slow to import, rarely needed)

    for name, published in [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]:
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing; fetch it again, or set data.download=true")
        with _readable(file):
            found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        if found != published:
            raise DataError(f"{file} is damaged: found MD5 {found}; expected {published}; fetch it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy 2.4 dislikes how NumPy 1 wrote these pickles
        data = reader(str(folder.parent), train=split == "train")
    return data.data, np.asarray(data.targets)


def _download(name: str, root: Path) -> None:
    import torchvision.datasets  # slow to import, rarely needed

    reader_class = getattr(torchvision.datasets, name)
    reader = reader_class.__new__(reader_class)  # its __init__ would also read the files, which is checked and done here
    reader.root = str(root)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints; our standard output is for results
            reader.download()
    except (OSError, RuntimeError, HTTPException, tarfile.TarError) as error:
        raise ResourceError(f"could not download {name} to {root}: {error}; check the network, or copy the files there yourself") from error


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


def _nothing_there(name: str, root: Path, file: Path, alternative: str = "") -> DataError:
    return DataError(f"no {name} below {root}; expected {file}{alternative}; set TOOLKIT_DATA or data.root, or data.download=true")


def _check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"{name} has no split '{split}'; it has train, test")

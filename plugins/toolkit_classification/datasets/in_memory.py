"""What the published data sets share: pictures in memory, downloads by torchvision, and messages about their files."""

from __future__ import annotations

import contextlib
import sys
import tarfile
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge

from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit.errors import DataError, ResourceError
from toolkit_classification.types import ClassificationInfo, LabelTarget

Limit = Annotated[int, Ge(1)] | None


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


def download_with_torchvision(name: str, root: Path) -> None:
    """Fetch torchvision's data set `name` to where it would read it below `root`. Raises: ResourceError."""
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
def readable(file: Path) -> Iterator[None]:
    """Whatever keeps `file` from being read becomes a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


def nothing_there(name: str, root: Path, file: Path, alternative: str = "") -> DataError:
    """The error for a data set of which `file` (or an `alternative`) is missing."""
    return DataError(f"no {name} below {root}; expected {file}{alternative}; set TOOLKIT_DATA or data.root, or data.download=true")


def check_split(name: str, split: str) -> None:
    """Raises: ValueError for a part other than train and test."""
    if split not in ("train", "test"):
        raise ValueError(f"{name} has no split '{split}'; it has train, test")

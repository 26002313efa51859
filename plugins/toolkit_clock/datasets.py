"""Clock pictures in NumPy files, and in a folder with a table."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt, Lt

from toolkit.data.images import read_image
from toolkit.data.locate import data_path, require_folder
from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit.data.signature import files_signature
from toolkit.errors import DataError
from toolkit_clock.types import ClockInfo, TimeTarget

Limit = Annotated[int, Ge(1)] | None
Integers = npt.NDArray[np.int64]

_SPLIT_NUMBERS: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
_LISTED = 20
"""Bad labels that are spelt out; the others are counted."""


class ClockArrays(Dataset[TimeTarget]):
    """Grey or colour clocks in one array: `images.npy` [N, H, W] or [N, H, W, 3] uint8 and `labels.npy` [N, 2] hour and minute.

    With `split.npy` [N] (0 train, 1 validation, 2 test) the parts are the published ones; otherwise a test part is cut here. Of
    pictures that occur with two labels nothing is known here; all are kept.

    Args:
        root: folder of the files; relative ones are below TOOLKIT_DATA.
        test_share: share of the pictures that becomes the test part, where there is no split.npy.
        split_seed: which pictures those are.
        limit: keep only so many samples of each part, spread over it, to try something out.

    Raises: DataError naming the file that is missing, damaged or of another shape; all labels that are no time.
    """

    info: ClockInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        root: str,
        test_share: Annotated[float, Gt(0), Lt(1)] = 0.1,
        split_seed: Annotated[int, Ge(0)] = 0,
        limit: Limit = None,
    ) -> None:
        folder = require_folder(data_path(root), "images.npy and labels.npy")
        images_file, labels_file, split_file = (folder / f"{name}.npy" for name in ("images", "labels", "split"))
        images = _read_array(images_file, "pictures [N, H, W] or [N, H, W, 3] uint8")
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
            raise _unfit(images_file, images, "[N, H, W] or [N, H, W, 3] uint8")
        labels = _read_integers(labels_file, "[N, 2] hour and minute")
        if labels.ndim != 2 or labels.shape[1] != 2:
            raise _unfit(labels_file, labels, "[N, 2] hour and minute")
        _check_length(images_file, images, labels_file, labels)
        if not len(images):
            raise DataError(f"{images_file}: holds no pictures; expected [N, H, W] or [N, H, W, 3] uint8 with at least one")
        times = _times(labels, labels_file, [f"row {row}" for row in range(len(labels))])
        parts = self._published(split_file, images_file, images) if split_file.is_file() else None
        self._splits: tuple[Split, ...] = parts[1] if parts else ("train", "test")
        if split not in self._splits:
            raise ValueError(f"{folder} has no split '{split}'; it has {', '.join(self._splits)}")
        rows = np.flatnonzero(parts[0] == _SPLIT_NUMBERS[split]) if parts else _cut(len(images), split, test_share, split_seed)
        self.rows = _spread(rows, limit)
        self._images = images if images.ndim == 4 else images[..., None]
        self._times = torch.from_numpy(times)
        _, height, width, channels = self._images.shape
        self.info = ClockInfo((channels, height, width))

    @property
    def splits(self) -> tuple[Split, ...]:
        """The parts in split.npy, or train and test where they are cut here."""
        return self._splits

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`; its id is the row in the files."""
        row = int(self.rows[index])
        image: Pixels = np.ascontiguousarray(self._images[row])
        return Sample(f"{row:05d}", image, TimeTarget(self._times[row]))

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def _published(file: Path, images_file: Path, images: npt.NDArray[Any]) -> tuple[Integers, tuple[Split, ...]]:
        parts = _read_integers(file, "[N] 0, 1 or 2")
        if parts.ndim != 1:
            raise _unfit(file, parts, "[N] 0 (train), 1 (validation) or 2 (test)")
        _check_length(images_file, images, file, parts)
        present = np.unique(parts).tolist()
        unknown = [value for value in present if value not in _SPLIT_NUMBERS.values()]
        if unknown or 0 not in present:
            raise DataError(f"{file}: holds {_listed(list(map(str, present)))}; expected 0 (train), 1 (validation) or 2 (test), and some 0")
        return parts, tuple(name for name, number in _SPLIT_NUMBERS.items() if number in present)


class ClockFolder(Dataset[TimeTarget]):
    """Your own clock pictures: a folder, and in it a table of `file,hour,minute`, as a spreadsheet saves it.

    A column `split` (train, validation, test) gives the parts; without it a test part is cut here. Pictures may have any sizes:
    bring them to one with Resize under transforms.

    Args:
        root: the folder; relative ones are below TOOLKIT_DATA.
        table: the CSV file's name in it; `file` in the table is relative to the folder.
        channels: 1 reads pictures as grey, 3 as RGB.
        test_share: share of the rows that becomes the test part, where the table has no column `split`.
        split_seed: which rows those are.
        limit: keep only so many samples of each part, spread over it, to try something out.

    Raises: DataError for a table without these columns, and with all rows in it that are no time or name no file.
    """

    info: ClockInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        root: str,
        table: str = "labels.csv",
        channels: Literal[1, 3] = 1,
        test_share: Annotated[float, Gt(0), Lt(1)] = 0.1,
        split_seed: Annotated[int, Ge(0)] = 0,
        limit: Limit = None,
    ) -> None:
        self.root = require_folder(data_path(root), f"clock pictures and {table}")
        file = self.root / table
        rows = _read_table(file)
        names = [row["file"] for row in rows]
        times = _times([_whole_numbers(row["hour"], row["minute"]) for row in rows], file, [f"'{name}'" for name in names])
        _check_names(self.root, file, names)
        parts = [row["split"] for row in rows] if "split" in rows[0] else None
        self._splits = _named_splits(file, parts) if parts else ("train", "test")
        if split not in self._splits:
            raise ValueError(f"{file} has no split '{split}'; it has {', '.join(self._splits)}")
        chosen = np.flatnonzero(np.array(parts) == split) if parts else _cut(len(rows), split, test_share, split_seed)
        self.files = [(names[row], int(times[row])) for row in _spread(chosen, limit)]
        self.channels = channels
        self.info = ClockInfo((channels, 0, 0))

    @property
    def splits(self) -> tuple[Split, ...]:
        """The parts in the table, or train and test where they are cut here."""
        return self._splits

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`, its id the name in the table. Raises: DataError naming the file, where it cannot be read."""
        name, time_min = self.files[index]
        return Sample(name, read_image(self.root / name, channels=self.channels), TimeTarget(torch.tensor(time_min)))

    def __len__(self) -> int:
        return len(self.files)

    def signature(self) -> str:
        """Of the pictures and their times."""
        return files_signature([self.root / name for name, _ in self.files], [time for _, time in self.files], self.channels)


def _read_array(file: Path, expected: str) -> npt.NDArray[Any]:
    """The array in a file, mapped, not read. Raises: DataError."""
    try:
        array: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; expected {expected}; set TOOLKIT_DATA or data.root to where it is") from None
    except (OSError, ValueError, EOFError) as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            reason = "holds Python objects (or is no NumPy file), which are not opened because they can run code"
        else:
            reason = f"cannot be read ({' '.join(str(error).split())})"
        raise DataError(f"{file}: {reason}; expected {expected}; save it again with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{file}: is an archive of several arrays; expected {expected}; save it again with numpy.save")
    return array


def _read_integers(file: Path, expected: str) -> Integers:
    array = _read_array(file, expected)
    if not np.issubdtype(array.dtype, np.integer):
        raise _unfit(file, array, f"{expected}, whole numbers")
    return array.astype(np.int64)


def _unfit(file: Path, array: npt.NDArray[Any], expected: str) -> DataError:
    return DataError(f"{file}: found {list(array.shape)} {array.dtype}; expected {expected}; save it again")


def _check_length(images_file: Path, images: npt.NDArray[Any], file: Path, array: npt.NDArray[Any]) -> None:
    if len(images) != len(array):
        raise DataError(f"{images_file} has {len(images)} pictures, but {file} has {len(array)} rows; they must be equal, save both again")


def _times(labels: npt.NDArray[Any] | Sequence[tuple[Any, Any]], file: Path, names: Sequence[str]) -> Integers:
    """[N] minutes of the half day. Raises: DataError naming every label that is no time."""
    wrong = [
        f"{name} is {hour}:{minute:02d}" if isinstance(minute, int) and isinstance(hour, int) else f"{name} is {hour!r}:{minute!r}"
        for name, (hour, minute) in zip(names, _plain(labels), strict=True)
        if not (isinstance(hour, int) and isinstance(minute, int) and 0 <= hour <= 12 and 0 <= minute <= 59)
    ]
    if wrong:
        raise DataError(
            f"{file}: {len(wrong):,} of {len(labels):,} labels {'is' if len(wrong) == 1 else 'are'} no time: {_listed(wrong)}; "
            "expected hours 0 to 11 (or 12 for 0) and minutes 0 to 59; correct them"
        )
    return np.array([hour % 12 * 60 + minute for hour, minute in _plain(labels)], dtype=np.int64)


def _plain(labels: Any) -> Any:
    return labels.tolist() if isinstance(labels, np.ndarray) else labels


def _whole_numbers(*texts: str) -> tuple[Any, ...]:
    """Each text as a number where it is one, or as it stands."""
    return tuple(int(text) if text.strip().isascii() and text.strip().isdigit() else text for text in texts)


def _read_table(file: Path) -> list[dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; expected a table with the columns file,hour,minute") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 text ({error}); save the table as CSV UTF-8") from error
    lines = text.splitlines()
    dialect = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","  # what spreadsheets save in half of the world
    reader = csv.reader(lines, delimiter=dialect, strict=True)  # else a quote that is never closed swallows the rest
    try:
        header, *cells = [row for row in reader if any(cell.strip() for cell in row)] or [[]]  # spreadsheets leave rows of commas
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num} cannot be read ({error}); look for a quote that is never closed") from error
    columns = [name.strip() for name in header]
    missing = [name for name in ("file", "hour", "minute") if name not in columns]
    if missing:
        found = ", ".join(columns) or "nothing"
        raise DataError(f"{file}: its first line has no {' and no '.join(missing)}; found {found}; expected file,hour,minute")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise DataError(f"{file}: its first line names {' and '.join(twice)} more than once; leave one column for each")
    rows = [dict(zip_longest(columns, (cell.strip() for cell in row[: len(columns)]), fillvalue="")) for row in cells]
    if not rows:
        raise DataError(f"{file}: has no rows; expected one for each picture: file,hour,minute")
    return rows


def _check_names(root: Path, file: Path, names: Sequence[str]) -> None:
    missing = [f"'{name}'" for name in names if not name or not (root / name).is_file()]
    if missing:
        raise DataError(
            f"{file}: {len(missing):,} of its {len(names):,} rows name no file below {root}: {_listed(missing)}; correct the table"
        )
    repeated = [f"'{name}'" for name, count in Counter(map(os.path.normpath, names)).items() if count > 1]
    if repeated:  # else one picture could be trained with and tested on
        raise DataError(f"{file}: more than one row for {_listed(repeated)}; leave one row for each")


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_LISTED]) + (f", and {len(texts) - _LISTED:,} more" if len(texts) > _LISTED else "")


def _named_splits(file: Path, parts: Sequence[str]) -> tuple[Split, ...]:
    unknown = sorted(set(parts) - set(_SPLIT_NUMBERS))
    if unknown or "train" not in parts:
        found = ", ".join(f"'{name}'" for name in sorted(set(parts)))
        raise DataError(f"{file}: its column split holds {found}; expected train, validation or test, and some train")
    return tuple(name for name in _SPLIT_NUMBERS if name in parts)


def _cut(count: int, split: Split, test_share: float, seed: int) -> Integers:
    """The rows of one part, sorted; at least one is left to train with."""
    num_test = min(max(round(count * test_share), 1), count - 1)
    drawn = np.random.default_rng(seed).permutation(count)
    return np.sort(drawn[:num_test] if split == "test" else drawn[num_test:])


def _spread(rows: Integers, limit: int | None) -> Integers:
    if limit is None or limit >= len(rows):
        return rows
    return rows[np.arange(limit) * len(rows) // limit]

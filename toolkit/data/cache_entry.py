"""Prepared samples of one size in a folder: a file of raw numbers for each tensor, and a manifest that is written last.

| file | holds |
|---|---|
| images | [N, H, W, C] uint8 |
| to_original | [N, 3, 3] float64 |
| target-0, truth-0, ... | the tensors of all targets and truths in the order of `tree.map_tensors` |
| manifest.json | ids, dtype and shape of each file, and the digest of all |
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.data.sample import Sample
from toolkit.data.tree import map_tensors

MANIFEST = "manifest.json"
Shapes = list[tuple[int, ...]]


class UnstorableError(Exception):
    """These samples cannot stand in one array; the text says why."""


@dataclass(frozen=True)
class Entry:
    """An entry, memory-mapped: nothing is read before it is used, and all processes share what was.

    images: [N, H, W, C] uint8; it must not be written to.
    targets, truth: every tensor of all samples, or a tuple of them where sizes differ; truth is None where it is the target itself.
    digest: of the content, as `content_digest.ContentDigest` makes it.
    num_bytes: on the disk.
    """

    ids: tuple[str, ...]
    images: Tensor
    to_original: Tensor
    targets: tuple[Tensor | tuple[Tensor, ...], ...]
    truth: tuple[Tensor | tuple[Tensor, ...], ...] | None
    digest: str
    num_bytes: int

    @property
    def uniform(self) -> tuple[bool, ...]:
        """Whether each tensor of a truth has one shape throughout."""
        return tuple(isinstance(column, Tensor) for column in (self.targets if self.truth is None else self.truth))

    def fits(self, first: Sample[Any]) -> bool:
        """Whether the first sample, made just now, is what is stored."""
        stored = [self.images[0], self.to_original[0]]
        stored += [column[0] for column in (*self.targets, *(self.targets if self.truth is None else self.truth))]
        made = [torch.from_numpy(np.ascontiguousarray(first.image)), torch.from_numpy(np.asarray(first.to_original, np.float64))]
        made += [*_tensors(first.target), *_tensors(first.truth)]
        return first.id == self.ids[0] and len(stored) == len(made) and all(map(_same_bytes, stored, made))

    def batched(self, first: Sample[Any]) -> tuple[Any, Any]:
        """All targets and all truths, built like those of `first`."""
        columns = iter(self.targets)
        targets = map_tensors(lambda tensor: next(columns), first.target)
        if self.truth is None:
            return targets, targets
        truth_columns = iter(self.truth)
        return targets, map_tensors(lambda tensor: next(truth_columns), first.truth)


class EntryWriter:
    """Writes samples one after the other into `folder`; nothing counts before `finish`. Raises: OSError; UnstorableError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids: list[str] = []
        self._columns: dict[str, _Column] = {}
        self._truth_is_target = True

    def add(self, sample: Sample[Any]) -> None:
        """One more sample."""
        self._truth_is_target &= sample.truth is sample.target
        leaves: dict[str, npt.NDArray[Any]] = {"images": sample.image, "to_original": np.asarray(sample.to_original, dtype=np.float64)}
        for what, value in (("target", sample.target), ("truth", sample.truth)):
            if _has_tuple(value):  # their number may differ from sample to sample
                raise UnstorableError("a target or truth holds a tuple")
            leaves |= {f"{what}-{number}": tensor.contiguous().numpy() for number, tensor in enumerate(_tensors(value))}
        if not self._ids:
            self._columns = {name: _Column(self._folder / name, array.dtype) for name, array in leaves.items()}
        if leaves.keys() != self._columns.keys():
            raise UnstorableError("the samples are not all built alike")
        for name, array in leaves.items():
            self._columns[name].add(array)
        if not self._columns["images"].uniform:
            raise UnstorableError("the pictures are of several sizes")
        self._ids.append(sample.id)

    def finish(self, digest: str) -> None:
        """Complete the entry, on the disk itself before the manifest says so."""
        for column in self._columns.values():
            column.finish()
        dropped = [name for name in self._columns if self._truth_is_target and name.startswith("truth-")]
        for name in dropped:
            (self._folder / name).unlink()
        columns = {name: column.described() for name, column in self._columns.items() if name not in dropped}
        manifest = {"digest": digest, "truth_is_target": self._truth_is_target, "columns": columns, "ids": self._ids}
        with (self._folder / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(manifest, file)
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Let go of the files, finished or not."""
        for column in self._columns.values():
            column.close()


def read_entry(folder: Path) -> Entry:
    """The entry in `folder`. Raises: OSError or ValueError if there is none, or a damaged one."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    try:
        columns = {name: _read_column(folder / name, **described) for name, described in manifest["columns"].items()}
        of = {what: tuple(column for name, column in columns.items() if name.startswith(what)) for what in ("target-", "truth-")}
        num_bytes = sum((folder / name).stat().st_size for name in columns)
        truth = None if manifest["truth_is_target"] else of["truth-"]
        images, to_original = columns["images"], columns["to_original"]
        return Entry(tuple(manifest["ids"]), images, to_original, of["target-"], truth, manifest["digest"], num_bytes)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / MANIFEST} is damaged") from error


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    """NaN counts as itself here."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()


class _Column:
    """One tensor of every sample, appended to a file."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._file: BinaryIO = path.open("wb")
        self._dtype = np.dtype(dtype)
        self._shapes: Shapes = []
        self.uniform = True

    def add(self, array: npt.NDArray[Any]) -> None:
        if array.dtype != self._dtype:
            raise UnstorableError("the samples are not all built alike")
        self._shapes.append(array.shape)
        self.uniform &= array.shape == self._shapes[0]
        self._file.write(array.tobytes())

    def described(self) -> dict[str, Any]:
        shapes = [[len(self._shapes), *self._shapes[0]]] if self.uniform else self._shapes
        return {"dtype": self._dtype.str, "shapes": shapes, "uniform": self.uniform}

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk shows again when the rest is flushed
            self._file.close()


def _read_column(path: Path, dtype: str, shapes: Sequence[Sequence[int]], uniform: bool) -> Any:
    sizes = [math.prod(shape) for shape in shapes]
    flat = _mapped(path, np.dtype(dtype), sum(sizes), writable=path.name != "images")
    if uniform:
        return flat.view(*shapes[0])
    return tuple(part.view(*shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True))


def _mapped(path: Path, dtype: npt.DTypeLike, count: int, *, writable: bool) -> Tensor:
    """[count] of a file's numbers. A writable one is private; the system would count that against its memory for large files.

    Raises: OSError; ValueError if the file is too short.
    """
    if not count:
        return torch.from_numpy(np.empty(0, dtype))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.memmap(path, dtype, mode="c" if writable else "r", shape=(count,)))


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of one sample's target or truth."""
    found: list[Tensor] = []
    map_tensors(found.append, value)
    return found


def _has_tuple(value: Any) -> bool:
    if dataclasses.is_dataclass(value):
        return any(_has_tuple(getattr(value, field.name)) for field in dataclasses.fields(value))
    return isinstance(value, tuple)

"""Checkpoints: folders of safetensors and JSON with a manifest of SHA-256 sums, replaced as a whole, checked when read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toolkit.errors import CheckpointError, ResourceError

MANIFEST = "manifest.json"
STATE = "state.json"
Tensors = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint as read: tensors by file name (without .safetensors) and name, and the JSON state beside them."""

    folder: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(folder: Path, tensors: Tensors, state: Mapping[str, Any]) -> None:
    """Write a checkpoint beside `folder`, sync it to disk, and put it in the place of what was there.

    At every moment there is a whole checkpoint, at `folder` or beside it (`newest_checkpoint` looks at all).
    Raises: ResourceError if the disk is full; what was there before is kept.
    """
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        for name, group in tensors.items():
            safetensors.torch.save_file(_on_host(group), new / f"{name}.safetensors")
        (new / STATE).write_text(json.dumps(state, indent=1, allow_nan=False))
        sums = {file.name: _sha256(file) for file in sorted(new.iterdir())}
        (new / MANIFEST).write_text(json.dumps(sums, indent=1))
        for file in new.iterdir():
            _sync(file)
        _sync(new)
        _replace(new, folder)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise _no_room(error, folder) from error


def link_checkpoint(source: Path, folder: Path) -> None:
    """Make `folder` the same checkpoint as `source` without writing its files again (hard links; copies where the disk has none)."""
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        shutil.copytree(source, new, copy_function=_link_or_copy)
        _sync(new)
        _replace(new, folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise _no_room(error, folder) from error


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint after checking every file against the manifest.

    Raises: CheckpointError naming the missing or damaged file.
    """
    try:
        sums = json.loads((folder / MANIFEST).read_text())
        for name, expected in sums.items():
            if _sha256(folder / name) != expected:
                raise CheckpointError(f"{folder / name} is damaged: its SHA-256 is not the manifest's")
        tensors = {file.stem: safetensors.torch.load_file(file) for file in sorted(folder.glob("*.safetensors"))}
        return Checkpoint(folder, tensors, json.loads((folder / STATE).read_text()))
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename} is missing, so {folder} is no whole checkpoint") from error
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read: {error}") from error


def load_weights(model: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Put the tensors of one file of the checkpoint into a model. Raises: CheckpointError if they are another model's."""
    try:
        model.load_state_dict(checkpoint.tensors[name])
    except (RuntimeError, KeyError) as error:
        reason = str(error).replace("\n", " ").replace("\t", "")
        raise CheckpointError(
            f"{checkpoint.folder / name}.safetensors does not fit the model; its code or config changed: {reason}"
        ) from error


def newest_checkpoint(checkpoints: Path) -> tuple[Checkpoint | None, list[str]]:
    """The valid checkpoint of a run that got furthest, and what is wrong with the others."""
    found, problems = [], []
    for folder in sorted(checkpoints.glob("*")) if checkpoints.is_dir() else []:
        if folder.is_dir() and not folder.name.endswith(".new"):
            try:
                found.append(load_checkpoint(folder))
            except CheckpointError as error:
                problems.append(str(error))
    found.sort(key=lambda c: (c.state["epoch"], c.state["position"], c.folder.name.startswith("last")))
    return (found[-1] if found else None), problems


def optimizer_tensors(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state as named tensors and JSON."""
    state = optimizer.state_dict()
    tensors, plain = {}, {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            elif value is not None:
                plain[f"{index}.{key}"] = value
    return tensors, {"plain": plain, "groups": state["param_groups"]}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Give an optimizer over the same parameters the state that `optimizer_tensors` took."""
    values: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *state["plain"].items()]:
        index, _, key = name.partition(".")
        values.setdefault(int(index), {})[key] = value
    groups = [{**own, **saved} for own, saved in zip(optimizer.state_dict()["param_groups"], state["groups"], strict=True)]
    optimizer.load_state_dict({"state": values, "param_groups": groups})
    for parameter, restored in optimizer.state.items():
        optimizer.state[parameter] = {key: _laid_out_as(parameter, value) for key, value in restored.items()}


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no weight is infinite or NaN; waits for the device once."""
    checks = [torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point()]
    return bool(torch.stack(checks).all()) if checks else True


def _on_host(group: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU; tied weights, which the format refuses to store once under two names, are stored twice."""
    result: dict[str, Tensor] = {}
    seen = set()
    for key, tensor in group.items():
        host = tensor.detach().cpu().contiguous()
        result[key] = host.clone() if host.data_ptr() in seen else host
        seen.add(host.data_ptr())
    return result


def _laid_out_as(parameter: Tensor, value: Any) -> Any:
    """`value` with the strides of its parameter (channels_last): fused kernels read both in the order of their addresses."""
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return value


def _replace(new: Path, folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    if folder.exists():  # otherwise a kill came between these two renames, and `old` is all there is
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _no_room(error: Exception, folder: Path) -> ResourceError:
    full = (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)) or "No space left" in str(error)
    what = "the disk is full" if full else str(error)
    return ResourceError(f"checkpoint {folder} could not be saved: {what}; free some space and run `toolkit resume {folder.parent.parent}`")

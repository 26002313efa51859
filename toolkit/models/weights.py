"""Weights from files into a model: `pretrained: file.safetensors | file.pth | file.keras`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.keras_file import keras_state
from toolkit.models.optional import quiet

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep a network's weights in a file with other things."""

_MOST_PROBLEMS = 6


def load_pretrained(model: nn.Module, path: str | Path) -> str:
    """Fill `model` from a file of weights of the whole network, all tensors or none.

    .safetensors and .pth / .pt: by name, as `state_dict` gives them; of a .pth only tensors are read, no code is run.
    .keras: layer by layer in the order in which the model's layers were made, kernels and flattened maps laid out as PyTorch's.
    The last layer may be of another number of outputs (another data set's classes); it then keeps its own weights.

    Returns: a line saying what was loaded and what was not.
    Raises: ConfigError if the file cannot be read or does not fit, naming what differs.
    """
    file = require_weights(path)
    own = model.state_dict()
    weights = _read(file, model)
    last = _last_weighted(model)
    kept = [name for name in (f"{last}.weight", f"{last}.bias") if _is_other_width(weights.get(name), own.get(name))] if last else []
    problems = _problems({k: v for k, v in weights.items() if k not in kept}, {k: v for k, v in own.items() if k not in kept})
    if problems:
        more = f" and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise ConfigError(f"{file} does not fit the model: {'; '.join(problems[:_MOST_PROBLEMS])}{more}", path="pretrained")
    model.load_state_dict({name: weights[name] for name in own.keys() & weights.keys() if name not in kept}, strict=False)
    told = f"{len(own) - len(kept)} of {len(own)} tensors from {file}"
    if kept:
        told += f"; {last} keeps its own weights, since it has {own[kept[0]].shape[0]} outputs and the file {weights[kept[0]].shape[0]}"
    return told


def read_tensors(path: str | Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors, .pth or .pt file by name, whatever network they are of; no code in the file is run.

    Raises: ConfigError if the file cannot be read or holds other things than tensors.
    """
    file = _existing(Path(path))
    suffix = file.suffix.lower()
    if suffix not in _READERS:
        raise ConfigError(f"{file} ends with '{suffix}'; expected .safetensors, .pth or .pt", path="pretrained")
    return _READERS[suffix](file)


def require_weights(path: str | Path) -> Path:
    """The file of a whole network's weights. Raises: ConfigError if there is none, or its name ends as none that is understood."""
    file = _existing(Path(path))
    suffix = file.suffix.lower()
    if suffix != ".keras" and suffix not in _READERS:
        raise ConfigError(f"{file} ends with '{suffix}'; expected .safetensors, .pth, .pt or .keras", path="pretrained")
    return file


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise ConfigError(f"no such file: {file}", path="pretrained")
    return file


def _read(file: Path, model: nn.Module) -> Mapping[str, Tensor]:
    return keras_state(file, model) if file.suffix.lower() == ".keras" else _READERS[file.suffix.lower()](file)


def _read_safetensors(file: Path) -> Mapping[str, Tensor]:
    try:
        weights: Mapping[str, Tensor] = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"cannot read {file}: {error}", path="pretrained") from error
    return weights


def _read_pth(file: Path) -> Mapping[str, Tensor]:
    try:
        with quiet():
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of a cut-off file torch's reader raises IndexError, struct.error, AssertionError and more
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"cannot read {file}: {reason}; save it as torch.save(model.state_dict(), ...)", path="pretrained") from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    ):
        raise ConfigError(
            f"{file} holds no state dict; expected names with a tensor each, also under one of {', '.join(_WRAPPERS)}", path="pretrained"
        )
    return {name.removeprefix("module."): value for name, value in content.items()}  # DistributedDataParallel's prefix


_READERS: Mapping[str, Callable[[Path], Mapping[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_pth,
    ".pt": _read_pth,
}


def _last_weighted(model: nn.Module) -> str | None:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return names[-1] if names else None


def _is_other_width(given: Tensor | None, own: Tensor | None) -> bool:
    """Whether two tensors differ in their number of outputs, and in nothing else."""
    return given is not None and own is not None and given.shape != own.shape and given.shape[1:] == own.shape[1:]


def _problems(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    problems = []
    for name in own.keys() - weights.keys():
        problems.append(f"'{name}' is missing")
    for name in weights.keys() - own.keys():
        close = difflib.get_close_matches(name, list(own), n=1, cutoff=0.8)
        problems.append(f"'{name}' is unknown" + (f" (nearest: '{close[0]}')" if close else ""))
    for name in weights.keys() & own.keys():
        if weights[name].shape != own[name].shape:
            problems.append(f"'{name}' is {list(weights[name].shape)}, expected {list(own[name].shape)}")
    return sorted(problems)

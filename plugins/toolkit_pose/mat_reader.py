"""Read MATLAB files in a child process, once: a damaged one can kill SciPy's reader, and the arrays are kept in the user's cache.

`python -m toolkit_pose.mat_reader FILE OUT` writes the arrays of FILE to OUT (.npz); `read_mat` is what the plugin calls.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.data.cache import cache_folder
from toolkit.errors import DataError

Arrays = dict[str, npt.NDArray[np.generic]]
_SECONDS = 120
_OF_VERSION_73 = 73
"""Exit code of the child for such a file."""
_FORMAT = "1"  # of the cached arrays; another one makes older caches unread


def read_mat(file: Path) -> Arrays:
    """Numeric and text arrays of a MATLAB file by name; fields of a struct array `s` are `s.field`, one row per element.

    The arrays are kept in `pose/` below the toolkit's cache folder under the SHA-256 of the file; a damaged copy is noticed by
    its checksums and made again.

    Raises: DataError if the file is missing, damaged, or kills its reader.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; expected MATLAB annotations; set TOOLKIT_DATA or data.root to where they are") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    cached = cache_folder() / "pose" / f"{digest[:32]}-{_FORMAT}.npz"
    try:
        return _load(cached)
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        pass  # not there yet, or damaged; RuntimeError: a member seems encrypted, or packed in a way that zipfile does not know
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "arrays.npz"
        read_in_child(file, made)
        arrays = _load(made)
        _keep(made, cached)
    return arrays


def read_in_child(file: Path, out: Path) -> None:
    """Write the arrays of `file` to `out` (.npz) in a child process. Raises: DataError if the file is damaged."""
    command = [sys.executable, "-m", "toolkit_pose.mat_reader", str(file), str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{file} is damaged: reading it took more than {_SECONDS} s; expected a MATLAB file; fetch it again") from None
    if done.returncode < 0:
        raise DataError(f"{file} is damaged: its reader was killed by signal {-done.returncode}; expected a MATLAB file; fetch it again")
    if done.returncode == _OF_VERSION_73:
        raise DataError(f"{file} is of MATLAB's version 7.3, which SciPy cannot read; save it with -v7")
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise DataError(f"{file} is damaged: {reason[0]}; expected a MATLAB file; fetch it again")


def _load(file: Path) -> Arrays:
    with zipfile.ZipFile(file) as members:
        if damaged := members.testzip():  # NumPy believes a member's header before its CRC-32 is known
            raise zipfile.BadZipFile(f"{file}: {damaged} is not what its CRC-32 says")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _keep(made: Path, cached: Path) -> None:
    """Copy into the cache in one step; a cache that cannot be written is no reason to stop."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cached.parent, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(made.read_bytes())
        Path(name).replace(cached)
    except OSError:
        return


def plain_arrays(file: str) -> Arrays:
    """What `file` holds, without Python objects."""
    from scipy.io import loadmat  # slow to import, and needed in the child alone

    arrays: Arrays = {}
    for name, value in loadmat(file, squeeze_me=True).items():
        if name.startswith("__") or not isinstance(value, np.ndarray):  # such as a sparse matrix
            continue
        if value.dtype.names:
            rows = np.atleast_1d(value)
            for field in value.dtype.names:
                arrays |= _named(f"{name}.{field}", [np.asarray(row) for row in rows[field].tolist()])
        elif not value.dtype.hasobject:
            arrays[name] = value
    return arrays


def _named(name: str, rows: list[npt.NDArray[np.generic]]) -> Arrays:
    """The rows of one field as one array, if they have one shape and are numbers or text."""
    if len({row.shape for row in rows}) != 1 or any(row.dtype.hasobject or row.dtype.names for row in rows):
        return {}
    return {name: np.stack(rows)}


if __name__ == "__main__":
    try:
        arrays: Any = plain_arrays(sys.argv[1])  # Any: the stub of savez holds every array against its option allow_pickle
        np.savez(sys.argv[2], **arrays)
    except NotImplementedError:  # loadmat's for files of HDF5
        sys.exit(_OF_VERSION_73)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")

"""Keep prepared pictures in the user's cache folder, so that the next run starts without decoding them.

`$TOOLKIT_CACHE`, else `$XDG_CACHE_HOME/vision-toolkit`, else `~/.cache/vision-toolkit`, holds `prepared/`, and this for each part of data:

| name | is |
|---|---|
| `<key>/` | a complete entry (`cache_entry`), named by what it was made from (`cache_key`) |
| `<key>.part/` | one in the making; left behind where the run was killed, and removed by the next that writes |
| `<key>.lock` | locked while one is in the making; the system lets go of it when the process ends, however it ends |
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.data.cache_entry import MANIFEST, Entry, EntryWriter, UnstorableError, read_entry
from toolkit.data.sample import Sample


def cache_folder() -> Path:
    """Where the toolkit keeps what it can make again."""
    own = os.environ.get("TOOLKIT_CACHE")
    return Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vision-toolkit"


class Cache:
    """The entries in `<folder>/prepared`, as one run sees them: what it uses is not removed by itself.

    Args:
        gib: the most that all entries may take; those that were not used for the longest time make room for new ones.
        folder: `cache_folder()` where not given.
    """

    def __init__(self, gib: float, folder: Path | None = None) -> None:
        self.limit_bytes = int(gib * 2**30)
        self._folder = (folder or cache_folder()) / "prepared"
        self._used: set[str] = set()

    def find(self, key: str) -> Entry | None:
        """The entry, which counts as used now; None where there is no whole one."""
        try:
            entry = read_entry(self._folder / key)
            os.utime(self._folder / key / MANIFEST)
        except (OSError, ValueError):
            return None
        self._used.add(key)
        return entry

    def drop(self, key: str) -> None:
        """Remove an entry. Who has it mapped keeps it until they end."""
        _remove(self._folder / key)
        self._used.discard(key)

    @contextlib.contextmanager
    def writing(self, key: str, num_bytes: int) -> Iterator[NewEntry]:
        """A new entry of about `num_bytes`, gone again unless it is committed. Waits while another process makes the same one."""
        new = NewEntry(self._folder / key)
        with contextlib.ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(self._folder / f"{key}.lock"))
                new.made_elsewhere = self.find(key)
                if new.made_elsewhere is None:
                    self._make_room(num_bytes)
                    stack.callback(new.discard)
                    new.begin()
            except (OSError, UnstorableError) as error:
                new.problem = _told(error)
            yield new

    def _make_room(self, num_bytes: int) -> None:
        """Raises: UnstorableError where there cannot be enough."""
        self._remove_leftovers()
        entries = sorted(self._entries(), reverse=True)
        room = self.limit_bytes - num_bytes - sum(size for _, size, path in entries if path.name in self._used)
        if room < 0:
            raise UnstorableError(f"{num_bytes / 2**30:.1f} GiB exceed loader.cache_gib")
        for _, size, path in entries:
            if path.name not in self._used:
                room -= size
                if room < 0:
                    _remove(path)
        free = shutil.disk_usage(self._folder).free
        if free < num_bytes:
            raise UnstorableError(f"the disk has {free / 2**30:.1f} GiB left of {num_bytes / 2**30:.1f} GiB needed")

    def _remove_leftovers(self) -> None:
        """What runs that were killed had begun to write, or to remove."""
        for folder in filter(Path.is_dir, list(self._folder.iterdir())):
            if folder.suffix == ".part":
                with contextlib.suppress(BlockingIOError), _locked(folder.with_suffix(".lock"), wait=False):
                    shutil.rmtree(folder, ignore_errors=True)
            elif not (folder / MANIFEST).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used, its bytes, and its folder."""
        for manifest in self._folder.glob(f"*/{MANIFEST}"):
            if manifest.parent.suffix == ".part":
                continue
            with contextlib.suppress(OSError):  # another run may remove it at this moment
                size = sum(file.stat().st_size for file in manifest.parent.iterdir())
                yield manifest.stat().st_mtime, size, manifest.parent


class NewEntry:
    """An entry in the making. A disk that is full or forbidden is told in `problem` and ends the making, nothing else.

    problem: why there will be no entry.
    made_elsewhere: what another process has made in the meantime: there is nothing left to write.
    """

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self.made_elsewhere: Entry | None = None
        self._path, self._part = path, path.with_suffix(".part")
        self._writer: EntryWriter | None = None

    def begin(self) -> None:
        """Start with an empty folder."""
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()
        self._writer = EntryWriter(self._part)

    def add(self, sample: Sample[Any]) -> None:
        """One more sample."""
        if self._writer is not None and not self.problem:
            try:
                self._writer.add(sample)
            except (OSError, UnstorableError) as error:
                self.problem = _told(error)
                self.discard()

    def commit(self, digest: str) -> None:
        """The entry is whole from now on, for everybody at once."""
        if self._writer is not None and not self.problem:
            try:
                self._writer.finish(digest)
                _remove(self._path)  # one without a manifest: its removal was interrupted
                self._part.rename(self._path)
            except OSError as error:
                self.problem = _told(error)

    def discard(self) -> None:
        """Remove what was written and not committed."""
        if self._writer is not None:
            self._writer.close()
        shutil.rmtree(self._part, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Raises: BlockingIOError if another process has it and `wait` is false."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(handle, path):  # the one before us removes the file while it still has the lock
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove(entry: Path) -> None:
    with contextlib.suppress(OSError):
        (entry / MANIFEST).unlink()  # first, so that no half of it is ever taken for whole
    shutil.rmtree(entry, ignore_errors=True)


def _told(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)

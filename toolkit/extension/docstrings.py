"""What a docstring says about each option."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

_ENTRY = re.compile(r"(\*{0,2}\w+(?:, *\*{0,2}\w+)*)(?: *\([^)]*\))?: +(\S.*)")


def argument_docs(factory: Callable[..., Any]) -> dict[str, str]:
    """Option -> its text in the `Args:` section of the factory's docstring (of the class, its `__init__`, or a base).

    >>> def shrink(*, size_px: int, square: bool): '''Smaller.
    ...
    ...     Args:
    ...         size_px: of the longer side,
    ...             in pixels.
    ...         square: pad the shorter side.
    ...     '''
    >>> argument_docs(shrink)
    {'size_px': 'of the longer side, in pixels.', 'square': 'pad the shorter side.'}
    """
    documented: dict[str, str] = {}
    for text in _docstrings(factory):
        for name, entry in _entries(_args_section(text)).items():
            documented.setdefault(name, entry)
    return documented


def field_docs(cls: type) -> dict[str, str]:
    """Field -> its text in a section's docstring; there the lines `field: text` need no `Args:` above them."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return {**_entries(text.splitlines()[1:]), **_entries(_args_section(text))}


def summary(factory: Callable[..., Any]) -> str:
    """The docstring's first line; empty where there is none."""
    text = next(_docstrings(factory), "")
    return text.splitlines()[0] if text else ""


def _docstrings(factory: Callable[..., Any]) -> Iterator[str]:
    if isinstance(factory, functools.partial):
        factory = factory.func
    sources: list[Any] = [factory]
    if isinstance(factory, type):
        bases = [base for base in factory.__mro__ if base is not object]
        sources = [source for base in bases for source in (base, vars(base).get("__init__"))]
    for source in sources:
        if getattr(source, "__doc__", None):
            yield inspect.cleandoc(source.__doc__)


def _args_section(text: str) -> list[str]:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() in ("Args:", "Arguments:")), len(lines))
    margin = _indent(lines[start]) if start < len(lines) else 0
    section = []
    for line in lines[start + 1 :]:
        if line.strip() and _indent(line) <= margin:
            break
        section.append(line)
    return textwrap.dedent("\n".join(section)).splitlines()


def _entries(lines: list[str]) -> dict[str, str]:
    """Lines `a, b: text` with deeper lines that go on."""
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        entry = _ENTRY.fullmatch(line.strip()) if _indent(line) == 0 else None
        if entry:
            names = [name.strip().lstrip("*") for name in entry[1].split(",")]
            entries.update(dict.fromkeys(names, entry[2].strip()))
        elif line.strip() and _indent(line) > 0:
            entries.update({name: f"{entries[name]} {line.strip()}" for name in names})
        else:
            names = []
    return entries


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

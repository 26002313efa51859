"""YAML text -> nodes with positions, by the YAML 1.2 core schema and without PyYAML's surprises.

Nothing here knows what a config should contain. Every error is a `ConfigError` of one line, `file:line:column: what`.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from toolkit.config.nodes import Node, Position
from toolkit.errors import ConfigError

MAX_DEPTH = 50
MAX_NODES = 100_000
"""With every alias counted as what it stands for, so that a few lines cannot fill the memory."""

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY_OR_NAN = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS = 4000  # Python refuses to read longer integers


def read_yaml(path: str | os.PathLike[str]) -> Node:
    """The document in the file.

    Raises: ConfigError if there is no such file (naming a similar one), or as `read_text`.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"no config file at {file}{_other_configs(file)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{file} is a folder, not a config file{_other_configs(file / '_')}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    return read_text(_decode(content, str(file)), str(file))


def read_text(text: str, file: str) -> Node:
    """The one document in `text`; `file` is what positions name.

    Raises: ConfigError where the text is not YAML, is empty, holds several documents, repeats a key, has a key that is
        not text, a tag, an alias that contains itself, or more levels or nodes than any config needs.

    >>> read_text("lr: 3e-4\\ndebug: no\\ntime: 12:30", "x.yaml").plain()
    {'lr': 0.0003, 'debug': 'no', 'time': '12:30'}
    """
    node = _Builder(text.removeprefix("\ufeff"), file).document()
    if node is None:
        raise ConfigError(f"{file}:1:1: the file is empty")
    return node


def read_value(text: str, position: Position) -> Node:
    """A value that is not in a file: every position is `position`; empty text is null.

    Raises: ConfigError as `read_text`.
    """
    node = _Builder(text, position.file, position).document()
    return Node(None, position, {}) if node is None else node


def resolve_scalar(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar means in YAML 1.2's core schema.

    >>> [resolve_scalar(text) for text in ("3e-4", "010", "0x10", "no", "True", "~", "1.2.3")]
    [0.0003, 10, 16, 'no', True, None, '1.2.3']
    """
    if _NULL.fullmatch(text):
        return None
    if boolean := _BOOL.fullmatch(text):
        return boolean[1] is not None
    if _INT.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY_OR_NAN.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise ConfigError(f"{file}:{line}:{column}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8") from error


def _other_configs(missing: Path) -> str:
    if "=" in missing.name:
        return "; it looks like an option, which this command does not take"
    folder = missing.parent
    if missing.suffix == "" and (known := folder / "configs" / f"{missing.name}.yaml").is_file():
        return f"; did you mean {known}?"
    try:
        names = sorted(item.name for item in folder.iterdir() if item.suffix in (".yaml", ".yml"))
    except OSError:
        return f"; there is no folder {folder} either"
    stems = {Path(name).stem: name for name in names}
    close = difflib.get_close_matches(missing.stem, stems, n=1, cutoff=0.7)
    if close:
        return f"; did you mean {folder / stems[close[0]]}?"
    return f"; {folder} has {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}" if names else ""


@dataclasses.dataclass(frozen=True)
class _Anchored:
    """What an alias stands for, with its size, so that a repetition is counted without walking through it."""

    node: Node
    count: int
    height: int


class _Builder:
    """Builds nodes from PyYAML's events, which are flat, so that depth and size are seen before they hurt."""

    def __init__(self, text: str, file: str, fixed: Position | None = None) -> None:
        self._text, self._file, self._fixed = text, file, fixed
        self._events = self._parsed()
        self._anchors: dict[str, _Anchored | None] = {}  # None: still open
        self._count = 0
        self._height = 0  # levels of the node built last

    def document(self) -> Node | None:
        """The root; None where the text holds no document."""
        root = None
        for event in self._events:
            if not isinstance(event, DocumentStartEvent):
                continue
            if root is not None:
                self._fail(event, "a second document begins here; a config is one document")
            root = self._node(next(self._events), depth=1)
        if root is None or (root.value is None and not self._text.strip().strip("-.")):
            return None
        return root

    def _parsed(self) -> Iterator[Event]:
        try:
            yield from yaml.parse(self._text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self._position(mark.line, mark.column) if mark else self._file
            hint = "; indent with spaces" if "'\\t'" in str(error.problem) else ""
            raise ConfigError(f"{place}: not valid YAML: {error.problem or error.context}{hint}") from error
        except ReaderError as error:
            before = self._text[: error.position]
            place = self._position(before.count("\n"), error.position - (before.rfind("\n") + 1))
            raise ConfigError(f"{place}: character U+{ord(self._text[error.position]):04X} cannot stand in YAML; remove it") from error

    def _node(self, event: Event, depth: int) -> Node:
        assert isinstance(event, NodeEvent)
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        self._check_size(event, depth, 1)
        if event.tag is not None and event.tag != "!":  # type: ignore[attr-defined]
            self._fail(event, f"tag {event.tag} is not supported; write the value without it")  # type: ignore[attr-defined]
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        before = self._count
        node = self._scalar(event) if isinstance(event, ScalarEvent) else self._collection(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, self._count - before + 1, self._height)
        return node

    def _scalar(self, event: ScalarEvent) -> Node:
        self._height = 0
        value = resolve_scalar(event.value) if event.style is None and event.tag is None else event.value
        return Node(value, self._at(event), {})

    def _collection(self, event: Event, depth: int) -> Node:
        assert isinstance(event, CollectionStartEvent)
        node = self._mapping(event, depth) if isinstance(event, MappingStartEvent) else self._sequence(event, depth)
        self._height += 1
        return node

    def _sequence(self, start: Event, depth: int) -> Node:
        assert isinstance(start, SequenceStartEvent)
        items, height = [], 0
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
            height = max(height, self._height)
        self._height = height
        return Node(items, self._at(start), {})

    def _mapping(self, start: Event, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        merged: list[Node] = []
        height = 0
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, keys)
            item = self._node(next(self._events), depth + 1)
            height = max(height, self._height)
            keys[key] = self._at(event)
            if key == "<<" and isinstance(event, ScalarEvent) and event.style is None:
                merged = self._merged(event, item)
            else:
                values[key] = item
        if merged:
            keys.pop("<<")
        for node in merged:  # what is written out wins, then the first that is merged
            for key in node.value.keys() - values.keys():
                values[key], keys[key] = node.value[key], node.keys[key]
        self._height = height
        return Node(values, self._at(start), keys)

    def _key(self, event: Event, earlier: dict[str, Position]) -> str:
        node = self._node(event, depth=1)
        if not isinstance(node.value, str):
            written = f" '{event.value}'" if isinstance(event, ScalarEvent) and event.value else ""
            self._fail(event, f"the key{written} is not text; put it in quotes" if written else "a key must be text")
        if node.value in earlier:
            self._fail(event, f"key '{node.value}' is repeated; it stands already in line {earlier[node.value].line}")
        return str(node.value)

    def _merged(self, event: Event, item: Node) -> list[Node]:
        nodes = item.value if isinstance(item.value, list) else [item]
        if not all(isinstance(node.value, dict) for node in nodes):
            self._fail(event, "<< takes a mapping or a list of mappings")
        return list(nodes)

    def _alias(self, event: AliasEvent, depth: int) -> Node:
        if event.anchor not in self._anchors:
            self._fail(event, f"alias *{event.anchor} has no anchor &{event.anchor} before it")
        anchored = self._anchors[event.anchor]
        if anchored is None:
            self._fail(event, f"alias *{event.anchor} stands inside its own anchor")
        self._check_size(event, depth + anchored.height, anchored.count)
        self._height = anchored.height
        return dataclasses.replace(anchored.node, position=self._at(event))

    def _check_size(self, event: Event, depth: int, count: int) -> None:
        self._count += count
        if depth > MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels")
        if self._count > MAX_NODES:
            self._fail(event, f"more than {MAX_NODES} values, aliases counted as what they stand for")

    def _at(self, event: Event) -> Position:
        mark = event.start_mark
        return self._position(mark.line, mark.column) if mark else Position(self._file)

    def _position(self, line: int, column: int) -> Position:
        return self._fixed or Position(self._file, line + 1, column + 1)

    def _fail(self, event: Event, message: str) -> NoReturn:
        raise ConfigError(f"{self._at(event)}: {message}")

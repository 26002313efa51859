"""A YAML document as nodes that know where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Position:
    """Where a value was written: a file with line and column counted from 1, or the command line (`line` 0)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Node:
    """A value of the document: None, bool, int, float, str, a list of nodes or a dict of nodes by (string) key.

    position: of the value's first character.
    keys: for a mapping, where each key stands; messages about a key point there.
    """

    value: Any
    position: Position
    keys: dict[str, Position]

    def place(self, path: str) -> Position | None:
        """Where the option 'fit.phases.0.train' stands: its key, or the item itself in a list; None where it was not written.

        >>> start = Position("a.yaml", 1, 1)
        >>> str(Node({"seed": Node(3, Position("a.yaml", 1, 7), {})}, start, {"seed": start}).place("seed"))
        'a.yaml:1:1'
        """
        node, place = self, self.position
        for step in path.split("."):
            if isinstance(node.value, dict) and step in node.value:
                node, place = node.value[step], node.keys[step]
            elif isinstance(node.value, list) and step.isdecimal() and int(step) < len(node.value):
                node = node.value[int(step)]
                place = node.position
            else:
                return None
        return place

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where, the path of the option ('model.dropout'), and what."""

    position: Position
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.position}: {self.path}: {self.message}" if self.path else f"{self.position}: {self.message}"

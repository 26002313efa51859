"""What a clock's config may not combine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.config.run_config import ComponentConfig, RunConfig
from toolkit_clock.types import MIRRORED_DIAL

_MIRRORING = frozenset({"HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry"})
_OF_CLASSES = ("two_head", "single_720")
_OF_NUMBERS = ("regression", "circular")
_HEADS = {"cross_entropy": _OF_CLASSES, "expected_error": _OF_CLASSES, "mixture": _OF_CLASSES, "mse": _OF_NUMBERS}


def config_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """(path, message) of each transform that mirrors dials, and of a loss that cannot judge the head.

    Transforms, heads and losses of other plugins are not known here; what is wrong with them is told when they run.
    """
    for part in ("train", "eval"):
        for number, transform in enumerate(getattr(config.transforms, part)):
            for path, name in _nested({"name": transform.name, **transform.options}, f"transforms.{part}.{number}"):
                if name in _MIRRORING:
                    yield path, f"{name} {MIRRORED_DIAL}"
    head, heads = config.model.options.get("head"), _HEADS.get(config.loss.name)
    if isinstance(head, ComponentConfig) and heads and head.name in _OF_CLASSES + _OF_NUMBERS and head.name not in heads:
        fitting = " or ".join(name for name, judged in _HEADS.items() if head.name in judged)
        yield "loss", f"{config.loss.name} cannot judge the head {head.name}; choose {fitting}, or the head {' or '.join(heads)}"


def _nested(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and name of a transform and of all within it (OneOf, Sequential, ...)."""
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping):
        return
    yield path, str(node.get("name"))
    for number, inner in enumerate(node.get("transforms") or ()):
        yield from _nested(inner, f"{path}.transforms.{number}")
    for option in ("first", "second"):
        yield from _nested(node.get(option), f"{path}.{option}")

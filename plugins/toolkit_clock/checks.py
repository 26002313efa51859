"""What a clock's config may not combine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import albumentations

from toolkit.config.run_config import ComponentConfig, RunConfig
from toolkit_clock.types import MIRRORED_DIAL

_MIRRORING = (albumentations.HorizontalFlip, albumentations.VerticalFlip, albumentations.Transpose, albumentations.D4)
_OF_CLASSES = ("two_head", "single_720")
_OF_NUMBERS = ("regression", "circular")
_HEADS = {"cross_entropy": _OF_CLASSES, "expected_error": _OF_CLASSES, "mixture": _OF_CLASSES, "mse": _OF_NUMBERS}
_WIDEST_SPREAD_MIN, _WIDEST_SMOOTHED_SPREAD_MIN = 1.5, 1.0


def config_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """(path, message) of each transform that mirrors dials, and of a loss that cannot judge the head or misleads it.

    Transforms, heads and losses of other plugins are not known here; what is wrong with them is told when they run.
    """
    for part in ("train", "eval"):
        for number, transform in enumerate(getattr(config.transforms, part)):
            for path, name in _nested({"name": transform.name, **transform.options}, f"transforms.{part}.{number}"):
                found = getattr(albumentations, name, None)
                if isinstance(found, type) and issubclass(found, _MIRRORING):
                    yield path, f"{name} {MIRRORED_DIAL}"
    head = config.model.options.get("head")
    if isinstance(head, ComponentConfig) and head.name in _OF_CLASSES + _OF_NUMBERS:
        yield from _loss_problems(config.loss, head.name)


def _loss_problems(loss: ComponentConfig, head: str) -> Iterator[tuple[str, str]]:
    fitting = " or ".join(name for name, heads in _HEADS.items() if head in heads)
    if loss.component.task is None:  # of the core: made for tensors, and no clock head gives one
        yield "loss", f"{loss.name} cannot judge the head {head}; choose {fitting}"
    elif head not in _HEADS.get(loss.name, (head,)):
        yield "loss", f"{loss.name} cannot judge the head {head}; choose {fitting}, or the head {' or '.join(_HEADS[loss.name])}"
    spread_min, smoothed = loss.options.get("spread_min", 0), loss.options.get("label_smoothing", 0) > 0
    widest = _WIDEST_SMOOTHED_SPREAD_MIN if smoothed else _WIDEST_SPREAD_MIN
    if loss.name in _HEADS and head == "two_head" and spread_min > widest:
        why = " with label_smoothing" if smoothed else ""
        yield (
            "loss.spread_min",
            f"{spread_min:g} minutes are too wide for two_head{why}, which would learn some times near the full hour so that they are "
            f"misread; set at most {widest:g}, or the head single_720",
        )


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

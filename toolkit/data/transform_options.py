"""Albumentations classes by their own names, with every option checked before anything runs."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import albumentations
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform, DualTransform, ImageOnlyTransform, Transform3D
from pydantic import ValidationError

from toolkit.errors import ConfigError

Problem = tuple[str, str]
"""Where within the transform's YAML node ("" is the node itself, "transforms.0.p" one of its options), and what is wrong there."""

_ABSTRACT = (BasicTransform, BaseCompose, DualTransform, ImageOnlyTransform, Transform3D)
_NESTED = {"transforms": True, "first": False, "second": False}
"""Options of compositions that hold transforms: a list (True) or one."""
_SAMPLE_HAS = {"image", "mask", "keypoints"}
_HARMLESS = "is a special case of Affine"
"""ShiftScaleRotate says so each time it is made; it still works."""


class TransformFactory:
    """Makes a transform from options as YAML gives them; `toolkit_check_options` lists everything that is wrong with them.

    Args:
        make: an albumentations class (or a subclass of a plugin), or a function that returns an instance.
        lookup: what the `{name:, ...}` nodes within compositions (OneOf, SomeOf, Sequential, ...) may name.
    """

    def __init__(self, make: Callable[..., Any], name: str, lookup: Callable[[str], TransformFactory | None]) -> None:
        self.make = make
        self.name = name
        self.__doc__ = make.__doc__  # what `toolkit list` and the JSON schema say of it
        self._lookup = lookup

    def __call__(self, **options: Any) -> Any:
        """The transform. Raises: ConfigError with every problem of the options."""
        transform, problems = self._build(options)
        if problems:
            raise ConfigError("\n".join(f"{self.name}{'.' + path if path else ''}: {message}" for path, message in problems))
        return transform

    def toolkit_check_options(self, options: Mapping[str, Any]) -> list[Problem]:
        """All problems of the options, none if a call with them would succeed."""
        return self._build(options)[1]

    def __repr__(self) -> str:
        return f"<transform {self.name}>"

    def _build(self, options: Mapping[str, Any]) -> tuple[Any, list[Problem]]:
        refused = _why_refused(self.make, self.name)
        if refused:
            return None, [("", refused)]
        known, problems = self._known_options(options)
        if isinstance(self.make, type) and issubclass(self.make, BaseCompose):
            known, more = self._build_nested(known)
            more += _composition_problems(self.name, known)
            if more:  # nothing there to construct it from
                return None, _in_order(problems + more, options)
        transform, more = _construct(self.make, self.name, known)
        return transform, _in_order(problems + more, options)

    def _known_options(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        parameters = inspect.signature(self.make).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return dict(options), []
        names = [p.name for p in parameters]
        problems = []
        for option in options:
            if option not in names:
                close = difflib.get_close_matches(str(option), names, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}"
                problems.append((str(option), f"transform '{self.name}' has no option '{option}'; {hint}"))
        return {name: value for name, value in options.items() if name in names}, problems

    def _build_nested(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        built, problems = dict(options), []
        for option, several in _NESTED.items():
            if option not in options or options[option] is None:
                continue
            if not several:
                built[option], problems_here = self._build_node(options[option], option)
                problems += problems_here
            elif isinstance(options[option], str) or not isinstance(options[option], Sequence):
                problems.append((option, f"expected a list of transforms, got {options[option]!r}"))
            else:
                pairs = [self._build_node(node, f"{option}.{i}") for i, node in enumerate(options[option])]
                built[option] = [transform for transform, _ in pairs]
                problems += [problem for _, found in pairs for problem in found]
        return built, problems

    def _build_node(self, node: Any, path: str) -> tuple[Any, list[Problem]]:
        if isinstance(node, BasicTransform | BaseCompose):
            return node, []
        if isinstance(node, str):
            node = {"name": node}
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
            return None, [(path, f"expected a transform such as {{name: HorizontalFlip}}, got {node!r}")]
        factory = self._lookup(node["name"])
        if factory is None:
            close = difflib.get_close_matches(node["name"], albumentations_names(), n=1)
            hint = f"did you mean '{close[0]}'?" if close else "expected a class of albumentations"
            return None, [(f"{path}.name", f"no transform named '{node['name']}'; {hint}")]
        transform, problems = factory._build({option: value for option, value in node.items() if option != "name"})
        return transform, [(f"{path}.{inner}" if inner else path, message) for inner, message in problems]


@cache
def albumentations_transform(name: str) -> TransformFactory | None:
    """The factory of the albumentations class called `name`, or None."""
    found = getattr(albumentations, name, None)
    if not isinstance(found, type) or not issubclass(found, BasicTransform | BaseCompose) or found in _ABSTRACT:
        return None
    return TransformFactory(found, name, albumentations_transform)


@cache
def albumentations_names() -> tuple[str, ...]:
    """Every albumentations class that works on pictures, sorted."""
    found = {name: albumentations_transform(name) for name in dir(albumentations)}
    return tuple(sorted(name for name, factory in found.items() if factory and not _why_refused(factory.make, name)))


def as_transform_factory(
    make: Callable[..., Any], name: str | None = None, lookup: Callable[[str], TransformFactory | None] = albumentations_transform
) -> TransformFactory:
    """The same treatment for a plugin's own albumentations subclass; a class that is wrapped already is returned as it is."""
    return make if isinstance(make, TransformFactory) else TransformFactory(make, name or make.__name__, lookup)


def _why_refused(make: Callable[..., Any], name: str) -> str | None:
    if make is albumentations.ToTensorV2:
        return f"'{name}' is not needed: pictures become tensors by themselves; leave it out"
    if isinstance(make, type) and (issubclass(make, Transform3D) or make is albumentations.ToTensor3D):
        return f"'{name}' works on volumes, not on pictures"
    return None


def _composition_problems(name: str, options: Mapping[str, Any]) -> list[Problem]:
    """What albumentations does not check in its compositions."""
    problems: list[Problem] = []
    p = options.get("p", 1.0)
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        problems.append(("p", f"input should be a number from 0 to 1, got {p!r}"))
    n = options.get("n", 1)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        problems.append(("n", f"input should be a whole number of at least 1, got {n!r}"))
    if "first" not in options and not options.get("transforms"):
        problems.append(("transforms" if "transforms" in options else "", f"transform '{name}' needs a list `transforms` of at least one"))
    return problems


def _construct(make: Callable[..., Any], name: str, options: Mapping[str, Any]) -> tuple[Any, list[Problem]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            transform = make(**options)
        except Exception as error:  # whatever a constructor raises is about its options
            cause = error if isinstance(error, ValidationError) else error.__cause__
            if isinstance(cause, ValidationError):
                return None, _validation_problems(cause, name)
            if isinstance(error, TypeError) and "required" in str(error):
                return None, [("", f"transform '{name}' {str(error).split('__init__() ')[-1].removeprefix('missing ')}: missing")]
            return None, [("", f"transform '{name}': {_one_line(error)}")]
    problems: list[Problem] = [("", f"transform '{name}': {_one_line(w.message)}") for w in caught if _HARMLESS not in str(w.message)]
    return transform, problems + _coerced(transform, options) + _unmet_needs(transform, name)


def _validation_problems(error: ValidationError, name: str) -> list[Problem]:
    """One problem per option; the alternatives of a union are joined by "or"."""
    messages: dict[str, list[str]] = {}
    got: dict[str, str] = {}
    for item in error.errors(include_url=False):
        option = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "missing":
            messages.setdefault("", []).append(f"transform '{name}' needs the option '{option}'")
            continue
        text = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if option and item["type"] != "value_error":
            text = text[0].lower() + text[1:]
            got.setdefault(option, f", got {item['input']!r}")
        messages.setdefault(option, []).append(text if option else f"transform '{name}': {text}")
    problems = []
    for option, texts in messages.items():
        if option:
            first, *others = dict.fromkeys(texts)
            alternatives = [first, *(other.removeprefix("input should be ") for other in others)]
            problems.append((option, " or ".join(alternatives) + got.get(option, "")))
        else:
            problems += [("", text) for text in dict.fromkeys(texts)]
    return problems


def _coerced(transform: Any, options: Mapping[str, Any]) -> list[Problem]:
    """Text or booleans that albumentations silently read as numbers, such as a quoted `"0.5"`."""
    problems = []
    for option, value in options.items():
        taken = getattr(transform, option, None)
        if isinstance(value, str | bool) and isinstance(taken, int | float) and not isinstance(taken, bool):
            problems.append((option, f"input should be a number, got {value!r}"))
    return problems


def _unmet_needs(transform: Any, name: str) -> list[Problem]:
    if not isinstance(transform, BasicTransform):
        return [] if isinstance(transform, BaseCompose) else [("", f"'{name}' made {transform!r}, which is no albumentations transform")]
    needs = sorted({*transform.targets_as_params} - _SAMPLE_HAS)
    return [("", f"transform '{name}' needs {', '.join(needs)}, which samples do not have")] if needs else []


def _in_order(problems: list[Problem], options: Mapping[str, Any]) -> list[Problem]:
    """As the options stand in the YAML, after what is about the node itself."""
    place = {option: index for index, option in enumerate(options)}
    return sorted(problems, key=lambda problem: place.get(problem[0].split(".")[0], -1))


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Values that YAML writes directly (numbers, text, lists, mappings): checked by pydantic, explained in one readable line each."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

Steps = tuple[str | int, ...]
"""A path within a value: keys and indices."""

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Leaf:
    """A type that holds no component and no section: `Annotated[int, Ge(1)]`, `Literal[...]`, `Path`, `dict[str, float]`, ..."""

    annotation: Any
    adapter: TypeAdapter[Any] = field(compare=False, repr=False)

    def check(self, plain: Any) -> tuple[Any, list[tuple[Steps, str]]]:
        """The value as its type wants it, and what is wrong with it: (path within the value, message) each.

        Validation is strict: '3' is no integer. It runs in JSON mode, so that a list may become a tuple and text a `Path`.

        >>> leaf_of(tuple[int, int]).check([1, "2"])
        (None, [((1,), "input should be a valid integer, got '2'")])
        """
        try:
            return self.adapter.validate_json(json.dumps(plain), strict=True), []
        except ValidationError as error:
            return None, _explain([_Error.parse(dict(raw), plain) for raw in error.errors(include_url=False)], plain)

    def plain(self, value: Any) -> Any:
        """The value as YAML holds it; `check` gives an equal value back."""
        return self.adapter.dump_python(value, mode="json", warnings=False)

    def json_schema(self, ref_template: str) -> dict[str, Any]:
        """JSON Schema of what `check` takes; shared definitions stand under `$defs`."""
        return self.adapter.json_schema(ref_template=ref_template)


def leaf_of(annotation: Any) -> Leaf:
    """Raises: a pydantic error where the type is none that YAML could hold."""
    try:
        return Leaf(annotation, TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False)))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":  # such types bring their own settings
            raise
        return Leaf(annotation, TypeAdapter(annotation))


def shown(value: Any) -> str:
    """A plain value as a message quotes it: YAML's words, text in quotes, cut where it is long.

    >>> shown("3"), shown(None), shown([True, 1.5]), shown(float("inf"))
    ("'3'", 'null', '[true, 1.5]', '.inf')
    """
    text = _shown_whole(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _shown_whole(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown_whole, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown_whole(item)}" for key, item in value.items()) + "}"
    return repr(value)


def closest(word: str, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant; `cutoff`: how alike they must be, 1 for the same.

    >>> closest("dropuot", ["dropout", "stages"])
    'dropout'
    """
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=cutoff)), None)


def did_you_mean(word: str | None) -> str:
    """The end of a message that found something else; nothing where there is no such word."""
    return f"; did you mean '{word}'?" if word else ""


@dataclass(frozen=True)
class _Error:
    """One of pydantic's errors. `union`: the path of the union it happened in, `branch`: in which member."""

    steps: Steps
    union: Steps | None
    branch: str
    kind: str
    text: str
    hint: str

    @classmethod
    def parse(cls, raw: dict[str, Any], plain: Any) -> _Error:
        loc, kind, text = raw["loc"], raw["type"], _in_yaml_words(raw["msg"])
        if kind == "missing" and isinstance(loc[-1], int):  # of a tuple; the error of the last item tells how many there should be
            loc, text = loc[:-1], f"input should have {loc[-1] + 1} items"
        steps, union, branch = _locate(loc, plain)
        return cls(steps, union, branch, kind, text, _hint(kind, raw, _value_at(plain, steps)))

    @property
    def wrong_type(self) -> bool:
        """The value was nothing that this member of a union takes, rather than out of its bounds."""
        return self.kind.endswith("_type") or self.kind in ("literal_error", "enum", "is_instance_of", "none_required")


def _locate(loc: tuple[str | int, ...], plain: Any) -> tuple[Steps, Steps | None, str]:
    """Pydantic puts names of union members between keys and indices; those are what the value does not have."""
    steps: list[str | int] = []
    union, branch, value = None, "", plain
    for part in loc:
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_list or (isinstance(value, dict) and part in value):
            steps.append(part)
            value = value[part]
        elif union is None:
            union, branch = tuple(steps), str(part)
    return tuple(steps), union, branch


def _value_at(plain: Any, steps: Steps) -> Any:
    for step in steps:
        plain = plain[step]
    return plain


def _in_yaml_words(message: str) -> str:
    """Pydantic speaks of JSON and Python: arrays, tuples, objects, dictionaries."""
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").replace(" after validation", "")
    message = re.sub(r"\b(array|tuple|set|frozenset)\b", "list", message, flags=re.IGNORECASE)
    message = re.sub(r"\b(an object|a valid dictionary)\b", "a mapping", message)
    return message[:1].lower() + message[1:]


def _hint(kind: str, raw: dict[str, Any], value: Any) -> str:
    if kind == "bool_type":
        return "; write true or false"
    if kind in ("literal_error", "enum") and isinstance(value, str):
        return did_you_mean(closest(value, re.findall(r"'([^']*)'", str(raw.get("ctx", {}).get("expected", "")))))
    return ""


def _explain(errors: list[_Error], plain: Any) -> list[tuple[Steps, str]]:
    """One message per wrong place: the errors of a union's members are one problem, not several."""
    problems: dict[Steps, tuple[str, str]] = {}
    for error in errors:
        if error.union is None:
            problems[error.steps] = error.text, error.hint
    for union in dict.fromkeys(error.union for error in errors if error.union is not None):
        for error in _of_nearest_member(union, [error for error in errors if error.union == union]):
            problems[error.steps] = error.text, error.hint
    return [(steps, f"{text}, got {shown(_value_at(plain, steps))}{hint}") for steps, (text, hint) in problems.items()]


def _of_nearest_member(union: Steps, errors: list[_Error]) -> list[_Error]:
    """The errors of the member that the value was meant for; where it fits none, one error that lists all."""
    members: dict[str, list[_Error]] = {}
    for error in errors:
        members.setdefault(error.branch, []).append(error)
    meant = [m for m in members.values() if not any(error.wrong_type and error.steps == union for error in m)]
    if meant:
        return min(meant, key=len)
    expected = dict.fromkeys(error.text.removeprefix("input should be ") for error in errors)
    hint = next((error.hint for error in errors if error.hint), "")
    return [_Error(union, union, "", "union", "input should be " + " or ".join(expected), hint)]

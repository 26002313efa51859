"""The signature is the schema: a component's options, read from its factory.

Before `/` stands what the toolkit supplies, after `*` what the YAML supplies. Types of options:

* a *leaf*: whatever YAML writes directly and pydantic knows (`Annotated[int, Ge(1)]`, `Literal`, `Path`, `float | None`, ...);
* a *component*: a class with `component_kind: ClassVar[str]`, or `Annotated[..., Kind("backbone")]`;
* a *section*: a dataclass, checked field by field;
* `X | None`, `list[X]` and `tuple[X, ...]` of a component or a section. The value of a list of them is a tuple.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Len, MinLen
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from toolkit.errors import PluginError
from toolkit.extension.docstrings import argument_docs, field_docs
from toolkit.extension.leaf import Leaf, leaf_of
from toolkit.extension.registry import KINDS, Component

OptionCheck = Callable[[dict[str, Any]], list[tuple[str, str]]]
"""Plain options -> problems: (path of the option, such as 'p' or 'transforms.0.p', or '' for the whole; message)."""


@dataclass(frozen=True)
class Kind:
    """Marks an option or a field that holds a component of this kind."""

    name: str


@dataclass(frozen=True)
class ComponentShape:
    """A nested `{name:, option:}` node."""

    kind: str


@dataclass(frozen=True)
class SectionShape:
    """A mapping whose keys are the fields of a dataclass. `owner` says in messages to plugin authors whose it is."""

    cls: type
    owner: str


@dataclass(frozen=True)
class ListShape:
    """A list of components or sections; its value is a tuple."""

    item: Shape
    min_items: int = 0


@dataclass(frozen=True)
class OptionalShape:
    """A component, section or list of them that may be null."""

    inner: Shape


Shape = Leaf | ComponentShape | SectionShape | ListShape | OptionalShape


@dataclass(frozen=True)
class Option:
    """One option of a component, or one field of a section.

    default: meaningless where the option is required.
    doc: its text in the docstring, or ''.
    """

    name: str
    shape: Shape
    required: bool
    default: Any
    doc: str


def option_check(component: Component) -> OptionCheck | None:
    """The factory's own `toolkit_check_options`, for one whose signature does not tell its options."""
    check = getattr(component.factory, "toolkit_check_options", None)
    return check if callable(check) else None


def component_options(component: Component) -> dict[str, Option]:
    """The options that the YAML may give, in order of the signature; none for a component that has an `option_check`.

    Raises: PluginError where the signature breaks the contract.
    """
    if option_check(component) is not None:
        return {}
    owner = f"{component.origin}: {component.kind} '{component.name}'"
    docs = argument_docs(component.factory)
    options = {}
    for parameter in _option_parameters(component.factory, owner):
        if (component.kind, parameter.name) == ("dataset", "validation"):
            raise PluginError(f"{owner}: an option cannot be called 'validation'; data.validation says how the core cuts that part")
        annotation = _resolve(parameter, _namespace(component.factory), owner)
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        shape = shape_of(annotation, f"{owner}: option '{parameter.name}'")
        options[parameter.name] = Option(parameter.name, shape, required, default, docs.get(parameter.name, ""))
    return options


def section_options(cls: type, owner: str = "toolkit") -> dict[str, Option]:
    """The fields of a dataclass as options.

    Raises: PluginError where a field's type is none that YAML could hold.
    """
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise PluginError(f"{owner}: a field of section {cls.__name__} has an unusable annotation: {error}") from error
    docs = field_docs(cls)
    options = {}
    for item in (item for item in dataclasses.fields(cls) if item.init):
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        made = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        shape = shape_of(hints[item.name], f"{owner}: field '{item.name}' of section {cls.__name__}")
        options[item.name] = Option(item.name, shape, required, None if required else made, docs.get(item.name, ""))
    return options


def undocumented_options(component: Component) -> list[str]:
    """Options that the `Args:` section of the factory's docstring does not mention."""
    return [option.name for option in component_options(component).values() if not option.doc]


def shape_of(annotation: Any, owner: str) -> Shape:
    """What an annotation asks of the YAML. `owner` begins the message where it asks something impossible.

    Raises: PluginError.
    """
    bare, metadata = _without_metadata(annotation)
    kind = _component_kind(bare, metadata)
    if kind is not None:
        return _known_component(kind, owner)
    if get_origin(bare) in (Union, types.UnionType):
        return _shape_of_union(annotation, get_args(bare), owner)
    if get_origin(bare) in (list, tuple, Sequence):
        return _shape_of_list(annotation, bare, metadata, owner)
    if isinstance(bare, type) and dataclasses.is_dataclass(bare):
        return SectionShape(bare, owner)
    return _leaf(annotation, owner)


def _shape_of_union(annotation: Any, members: tuple[Any, ...], owner: str) -> Shape:
    shapes = [shape_of(member, owner) for member in members if member is not type(None)]
    if all(isinstance(shape, Leaf) for shape in shapes):
        return _leaf(annotation, owner)
    if len(shapes) == 1 and len(members) == 2:
        return OptionalShape(shapes[0])
    raise PluginError(f"{owner} mixes a component or section with other types; only `X | None` is possible")


def _shape_of_list(annotation: Any, bare: Any, metadata: tuple[Any, ...], owner: str) -> Shape:
    items = [item for item in get_args(bare) if item is not Ellipsis]
    shapes = [shape_of(item, owner) for item in items if item != ()]
    if all(isinstance(shape, Leaf) for shape in shapes):
        return _leaf(annotation, owner)
    if len(shapes) != 1 or (get_origin(bare) is tuple and len(get_args(bare)) == 1):
        raise PluginError(f"{owner} holds a fixed number of components or sections; write tuple[X, ...], or one option for each")
    lengths = [data.min_length for data in metadata if isinstance(data, MinLen | Len)]
    return ListShape(shapes[0], max(lengths, default=0))


def _without_metadata(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        bare, *metadata = get_args(annotation)
        return bare, tuple(metadata)
    return annotation, ()


def _component_kind(bare: Any, metadata: tuple[Any, ...]) -> str | None:
    for data in metadata:
        if isinstance(data, Kind):
            return data.name
    cls = get_origin(bare) or bare
    kind = getattr(cls, "component_kind", None) if isinstance(cls, type) else None
    return kind if isinstance(kind, str) else None


def _known_component(kind: str, owner: str) -> ComponentShape:
    if kind not in KINDS:
        raise PluginError(f"{owner} holds a component of kind '{kind}', which does not exist; there are: {', '.join(KINDS)}")
    return ComponentShape(kind)


def _leaf(annotation: Any, owner: str) -> Leaf:
    try:
        return leaf_of(annotation)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise PluginError(f"{owner} has type {_spelled(annotation)}, which YAML cannot hold: {reason}") from error


def _spelled(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def _option_parameters(factory: Callable[..., Any], owner: str) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (ValueError, TypeError) as error:
        raise PluginError(f"{owner} has no readable signature; wrap it in a function") from error
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            raise PluginError(
                f"{owner}: parameter '{parameter.name}' stands neither before `/` (supplied by the toolkit) nor after `*` (an option)"
            )
    options = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if any(option.name == "name" for option in options):
        raise PluginError(f"{owner}: an option cannot be called 'name'; in the YAML that is the component's own name")
    return options


def _resolve(parameter: inspect.Parameter, namespace: dict[str, Any], owner: str) -> Any:
    """The option's annotation as an object; only those of options are looked at, the others may be for type checkers alone."""
    if parameter.annotation is parameter.empty:
        raise PluginError(f"{owner}: option '{parameter.name}' has no annotation")
    holder = types.SimpleNamespace(__annotations__={"option": parameter.annotation})
    try:
        return typing.get_type_hints(holder, namespace, include_extras=True)["option"]
    except NameError as error:
        raise PluginError(
            f"{owner}: the annotation of option '{parameter.name}' cannot be resolved ({error}); "
            "import that name at run time, not only under TYPE_CHECKING"
        ) from error
    except (TypeError, SyntaxError, AttributeError) as error:
        raise PluginError(f"{owner}: the annotation of option '{parameter.name}' is unusable: {error}") from error


def _namespace(factory: Any) -> dict[str, Any]:
    """The globals of the module whose text holds the factory's annotations."""
    if isinstance(factory, functools.partial):
        return _namespace(factory.func)
    if isinstance(factory, type):
        own_init = factory.__init__ is not object.__init__  # type: ignore[misc]
        factory = factory.__init__ if own_init else factory.__new__  # type: ignore[misc]
    elif not inspect.isroutine(factory):
        factory = type(factory).__call__
    return dict(getattr(inspect.unwrap(factory), "__globals__", {}))

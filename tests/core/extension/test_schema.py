from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge, Le, MinLen

from toolkit.errors import PluginError
from toolkit.extension import Component, Origin
from toolkit.extension.docstrings import summary
from toolkit.extension.leaf import Leaf
from toolkit.extension.schema import (
    ComponentShape,
    Kind,
    ListShape,
    OptionalShape,
    SectionShape,
    component_options,
    option_check,
    section_options,
    undocumented_options,
)

if TYPE_CHECKING:
    from decimal import Decimal


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Backbone:
    component_kind: ClassVar[str] = "backbone"


class Strange:
    component_kind: ClassVar[str] = "strange"


@dataclass(frozen=True)
class Crop:
    """What is cut out.

    size_px: of its longer side.
    """

    size_px: Annotated[int, Ge(1)]
    centre: tuple[float, float] = (0.5, 0.5)
    labels: list[str] = field(default_factory=list)


class Net:
    """A network.

    Args:
        backbone: from pictures
            to features.
        stages, width: how many, how wide.
    """

    def __init__(
        self, info: Decimal, /, *, backbone: Backbone, stages: Annotated[int, Ge(1)] = 3, width: int = 8, crop: Crop | None = None
    ) -> None:
        """Builds it.

        Args:
            crop: what is cut out.
        """


class DeeperNet(Net):
    """A deeper network."""


def component(factory: Callable[..., Any]) -> Component:
    return Component("model", "net", factory, Origin("toy", "toy-plugin", "1.0"))


def shape(annotation: Any) -> Any:
    def factory(*, option: int) -> None: ...

    factory.__annotations__["option"] = annotation
    return component_options(component(factory))["option"].shape


def message_of(annotation: Any, plain: Any) -> str:
    """The one problem with a value, as 'path: message'."""
    leaf = shape(annotation)
    assert isinstance(leaf, Leaf)
    _, problems = leaf.check(plain)
    assert len(problems) == 1
    ((steps, message),) = problems
    return ".".join(map(str, steps)) + f": {message}" if steps else message


def test_options_are_what_stands_after_the_star() -> None:
    options = component_options(component(Net))
    assert list(options) == ["backbone", "stages", "width", "crop"]
    assert options["backbone"].required
    assert not options["stages"].required
    assert options["stages"].default == 3


@pytest.mark.parametrize("factory", [DeeperNet, functools.partial(Net, width=2)])
def test_bases_and_partials_have_the_options_of_what_they_call(factory: Callable[..., Any]) -> None:
    assert list(component_options(component(factory))) == ["backbone", "stages", "width", "crop"]


def test_option_texts_come_from_the_class_its_init_and_its_bases() -> None:
    options = component_options(component(DeeperNet))
    assert {name: option.doc for name, option in options.items()} == {
        "backbone": "from pictures to features.",
        "stages": "how many, how wide.",
        "width": "how many, how wide.",
        "crop": "what is cut out.",
    }
    assert undocumented_options(component(DeeperNet)) == []
    assert summary(DeeperNet) == "A deeper network."


def undocumented(*, seen: int = 0, unseen: int = 0) -> None:
    """Something.

    Args:
        seen: this one, told
            in two lines.

    unseen: this line is not in the section.
    """


def test_options_without_a_text_are_listed() -> None:
    assert undocumented_options(component(undocumented)) == ["unseen"]
    assert component_options(component(undocumented))["seen"].doc == "this one, told in two lines."


def test_a_class_of_a_kind_nests() -> None:
    assert shape(Backbone) == ComponentShape("backbone")
    assert shape(Backbone | None) == OptionalShape(ComponentShape("backbone"))
    assert shape(list[Backbone]) == ListShape(ComponentShape("backbone"))
    assert shape(tuple[Backbone, ...] | None) == OptionalShape(ListShape(ComponentShape("backbone")))
    assert shape(Annotated[tuple[Backbone, ...], MinLen(2)]) == ListShape(ComponentShape("backbone"), 2)
    assert shape(Annotated[Any, Kind("loss")]) == ComponentShape("loss")


def test_a_dataclass_is_a_section() -> None:
    crop = shape(Crop)
    assert isinstance(crop, SectionShape)
    options = section_options(crop.cls)
    assert [(option.name, option.required, option.default, option.doc) for option in options.values()] == [
        ("size_px", True, None, "of its longer side."),
        ("centre", False, (0.5, 0.5), ""),
        ("labels", False, [], ""),
    ]


@pytest.mark.parametrize(
    ("annotation", "plain", "value"),
    [
        (Annotated[int, Ge(1)], 3, 3),
        (float, 3, 3.0),
        (Path, "a/b", Path("a/b")),
        (tuple[float, float], [1, 2.5], (1.0, 2.5)),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (int | None, None, None),
        (Colour, "red", Colour.RED),
        (Literal[1, "auto"], "auto", "auto"),
        (Any, [1, {"a": None}], [1, {"a": None}]),
    ],
)
def test_a_leaf_becomes_what_its_type_says(annotation: Any, plain: Any, value: Any) -> None:
    leaf = shape(annotation)
    assert leaf.check(plain) == (value, [])
    assert leaf.check(leaf.plain(value)) == (value, [])


@pytest.mark.parametrize(
    ("annotation", "plain", "message"),
    [
        (int, "3", "input should be a valid integer, got '3'"),
        (int, 1.0, "input should be a valid integer, got 1.0"),
        (int, True, "input should be a valid integer, got true"),
        (int, None, "input should be a valid integer, got null"),
        (int | None, "3", "input should be a valid integer, got '3'"),
        (str, 12, "input should be a valid string, got 12"),
        (bool, "no", "input should be a valid boolean, got 'no'; write true or false"),
        (bool, 1, "input should be a valid boolean, got 1; write true or false"),
        (float, float("nan"), "input should be a finite number, got .nan"),
        (float, float("-inf"), "input should be a finite number, got -.inf"),
        (Annotated[float, Ge(0), Le(1)], 2, "input should be less than or equal to 1, got 2"),
        (Literal["auto", "worker"], "wroker", "input should be 'auto' or 'worker', got 'wroker'; did you mean 'worker'?"),
        (Colour, "rod", "input should be 'red' or 'blue', got 'rod'; did you mean 'red'?"),
        (Annotated[int, Ge(0)] | Literal["auto"], "x", "input should be a valid integer or 'auto', got 'x'"),
        (Annotated[int, Ge(0)] | Literal["auto"], -3, "input should be greater than or equal to 0, got -3"),
        (float | tuple[float, float], "x", "input should be a valid number or a valid list, got 'x'"),
        (float | tuple[float, float], [1, "x"], "1: input should be a valid number, got 'x'"),
        (float | tuple[float, float], [1], "input should have 2 items, got [1]"),
        (tuple[int, int, int], [1], "input should have 3 items, got [1]"),
        (tuple[int, int], [1, 2, 3], "list should have at most 2 items, not 3, got [1, 2, 3]"),
        (tuple[int, ...], 3, "input should be a valid list, got 3"),
        (dict[str, int], [1], "input should be a mapping, got [1]"),
        (dict[str, list[int]], {"a": [1, "b"]}, "a.1: input should be a valid integer, got 'b'"),
        (dict[str, int | None] | None, {"a": {"b": 1}}, "a: input should be a valid integer, got {b: 1}"),
        (list[int | Literal["x"]], [1, "y"], "1: input should be a valid integer or 'x', got 'y'"),
        (int, "x" * 200, "input should be a valid integer, got '" + "x" * 76 + "..."),
    ],
)
def test_a_wrong_leaf_is_told_in_one_readable_line(annotation: Any, plain: Any, message: str) -> None:
    assert message_of(annotation, plain) == message


def test_each_wrong_item_is_a_problem_of_its_own() -> None:
    _, problems = shape(list[int]).check(["a", 2, "c"])
    assert problems == [((0,), "input should be a valid integer, got 'a'"), ((2,), "input should be a valid integer, got 'c'")]


def without_annotation(*, size=3): ...  # type: ignore[no-untyped-def]


def only_for_type_checkers(info: Decimal, /, *, price: Decimal) -> None: ...


def nonsense(*, size: "3 +") -> None: ...  # type: ignore[valid-type]  # noqa: F722


def neither(info: Any, *, size: int) -> None: ...


def called_name(*, name: str) -> None: ...


def strange_kind(*, part: Strange) -> None: ...


def mixed(*, part: Backbone | str) -> None: ...


def pair(*, parts: tuple[Backbone, Backbone]) -> None: ...


OWNER = "toy-plugin 1.0 (plugin 'toy'): model 'net'"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (without_annotation, "option 'size' has no annotation"),
        (
            only_for_type_checkers,
            "the annotation of option 'price' cannot be resolved (name 'Decimal' is not defined); "
            "import that name at run time, not only under TYPE_CHECKING",
        ),
        (neither, "parameter 'info' stands neither before `/` (supplied by the toolkit) nor after `*` (an option)"),
        (called_name, "an option cannot be called 'name'; in the YAML that is the component's own name"),
        (mixed, "option 'part' mixes a component or section with other types; only `X | None` is possible"),
        (pair, "option 'parts' holds a fixed number of components or sections; write tuple[X, ...], or one option for each"),
    ],
)
def test_a_signature_that_breaks_the_contract_is_the_plugins_problem(factory: Callable[..., Any], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        component_options(component(factory))
    assert str(caught.value).replace(f"{OWNER}: ", "") == message
    assert str(caught.value).startswith(OWNER)


def test_a_data_set_leaves_the_name_of_the_cut_to_the_core() -> None:
    def people(*, validation: str) -> None: ...

    message = r"dataset 'people': an option cannot be called 'validation'; data.validation says how the core cuts that part"
    with pytest.raises(PluginError, match=message):
        component_options(Component("dataset", "people", people, Origin("toy", "toy-plugin", "1.0")))


def test_an_annotation_that_is_no_expression_names_its_option() -> None:
    with pytest.raises(PluginError, match=r"the annotation of option 'size' is unusable: "):
        component_options(component(nonsense))


def test_a_kind_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        PluginError, match=r"option 'part' holds a component of kind 'strange', which does not exist; there are: task, dataset"
    ):
        component_options(component(strange_kind))


def test_a_type_that_yaml_cannot_hold_is_named() -> None:
    with pytest.raises(
        PluginError, match=r"option 'x' has type .*Strange2, which YAML cannot hold: Unable to generate pydantic-core schema"
    ):
        shape_named_x(Strange2)


class Strange2:
    """No pydantic type, no component, no section."""


def shape_named_x(annotation: Any) -> None:
    def factory(*, x: int) -> None: ...

    factory.__annotations__["x"] = annotation
    component_options(component(factory))


class ChecksItself:
    def toolkit_check_options(self, options: dict[str, Any]) -> list[tuple[str, str]]:
        return [("p", f"too large: {options['p']}")]

    def __call__(self, everything: Any, **options: Any) -> None: ...


def test_a_factory_may_check_its_options_itself() -> None:
    check = option_check(component(ChecksItself()))
    assert check is not None
    assert check({"p": 3}) == [("p", "too large: 3")]
    assert component_options(component(ChecksItself())) == {}
    assert option_check(component(Net)) is None

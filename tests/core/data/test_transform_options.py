from __future__ import annotations

import subprocess
import sys
from typing import Any

import albumentations
import numpy as np
import pytest

from toolkit.data.transform_options import TransformFactory, albumentations_names, albumentations_transform, as_transform_factory
from toolkit.errors import ConfigError


def problems(name: str, **options: Any) -> list[tuple[str, str]]:
    factory = albumentations_transform(name)
    assert factory is not None
    return factory.toolkit_check_options(options)


def test_every_albumentations_picture_transform_is_there_by_name() -> None:
    names = albumentations_names()
    assert {"Affine", "HorizontalFlip", "OneOf", "SomeOf", "Sequential", "Normalize"} <= set(names)
    assert not {"BasicTransform", "BaseCompose", "DualTransform", "CenterCrop3D", "ToTensorV2", "KeypointParams"} & set(names)
    assert albumentations_transform("Horizontalflip") is None
    assert albumentations_transform("KeypointParams") is None


def test_good_options_have_no_problem_and_lists_serve_as_tuples() -> None:
    assert problems("Affine", rotate=[-40, 40], scale=[0.8, 1.25], p=1) == []
    affine: Any = albumentations_transform("Affine")
    assert affine(rotate=[-40, 40]).rotate == (-40.0, 40.0)


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    assert problems("Affine", rotat=3) == [("rotat", "transform 'Affine' has no option 'rotat'; did you mean 'rotate'?")]


def test_a_value_out_of_bounds_stands_at_its_option() -> None:
    assert problems("Resize", height=-3, width=4) == [("height", "input should be greater than or equal to 1, got -3")]


def test_all_problems_are_told_together() -> None:
    assert problems("Resize", height=-3, width=4, p=7, hight=3) == [
        ("height", "input should be greater than or equal to 1, got -3"),
        ("p", "input should be less than or equal to 1, got 7"),
        ("hight", "transform 'Resize' has no option 'hight'; did you mean 'height'?"),
    ]


def test_the_alternatives_of_an_option_are_one_problem() -> None:
    [(path, message)] = problems("Affine", rotate="x")
    assert path == "rotate"
    assert message.startswith("input should be a valid tuple or a valid number")
    assert message.endswith("got 'x'")


def test_a_missing_option_is_named() -> None:
    assert problems("Resize", height=3) == [("", "transform 'Resize' needs the option 'width'")]


def test_options_that_contradict_each_other_are_told_for_the_node() -> None:
    assert problems("Crop", x_min=10, x_max=3, y_max=3) == [("", "transform 'Crop': x_max must be greater than x_min")]


@pytest.mark.parametrize("value", ["0.5", True])
def test_text_and_booleans_are_no_numbers(value: Any) -> None:
    assert problems("HorizontalFlip", p=value) == [("p", f"input should be a number, got {value!r}")]


def test_a_warning_of_albumentations_is_a_problem() -> None:
    [(path, message)] = problems("Normalize", mean=[0.1], std=[0.0])
    assert path == ""
    assert "divide by zero" in message


def test_shift_scale_rotate_works_though_it_warns() -> None:
    assert problems("ShiftScaleRotate") == []


def test_nested_transforms_are_checked_with_their_paths() -> None:
    nested = [
        {"name": "HorizontalFlip", "p": 3},
        {"name": "VerticalFlop"},
        {"name": "OneOf", "transforms": [{"name": "Blur", "blurlimit": 3}]},
        7,
    ]
    assert problems("OneOf", transforms=nested) == [
        ("transforms.0.p", "input should be less than or equal to 1, got 3"),
        ("transforms.1.name", "no transform named 'VerticalFlop'; did you mean 'VerticalFlip'?"),
        ("transforms.2.transforms.0.blurlimit", "transform 'Blur' has no option 'blurlimit'; did you mean 'blur_limit'?"),
        ("transforms.3", "expected a transform such as {name: HorizontalFlip}, got 7"),
    ]


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({}, "", "needs a list `transforms` of at least one"),
        ({"transforms": []}, "transforms", "at least one"),
        ({"transforms": "HorizontalFlip"}, "transforms", "expected a list of transforms, got 'HorizontalFlip'"),
        ({"transforms": ["HorizontalFlip"], "p": 3}, "p", "from 0 to 1, got 3"),
        ({"transforms": ["HorizontalFlip"], "n": 0}, "n", "at least 1, got 0"),
        ({"transforms": ["HorizontalFlip"], "n": 2}, "", "`n` is greater than number of transforms"),
    ],
)
def test_compositions_are_checked_though_albumentations_does_not(options: Any, path: str, message: str) -> None:
    [(found, text)] = problems("SomeOf", **options)
    assert found == path
    assert message in text


def test_a_composition_is_built_with_its_parts() -> None:
    sequential: Any = albumentations_transform("Sequential")
    built = sequential(transforms=["HorizontalFlip", {"name": "Blur", "p": 1}], p=0.3)
    assert [type(t).__name__ for t in built.transforms] == ["HorizontalFlip", "Blur"]
    assert (built.p, built.transforms[1].p) == (0.3, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [("ToTensorV2", "leave it out"), ("CenterCrop3D", "works on volumes"), ("FDA", "needs fda_metadata, which samples do not have")],
)
def test_what_cannot_work_here_says_why(name: str, message: str) -> None:
    [(_, text)] = problems(name)
    assert message in text


def test_calling_with_bad_options_raises_all_problems() -> None:
    with pytest.raises(ConfigError, match=r"Resize.height: input should be greater .* got 0\nResize.p: .* got 2"):
        albumentations_transform("Resize")(height=0, width=3, p=2)  # type: ignore[misc]


class Darken(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    def __init__(self, amount: float, p: float = 1.0) -> None:
        super().__init__(p=p)
        if amount < 0:
            raise ValueError("amount must not be negative")
        self.amount = amount

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return (img * (1 - self.amount)).astype(np.uint8)


def test_a_plugins_own_transform_gets_the_same_treatment() -> None:
    factory = as_transform_factory(Darken)
    assert as_transform_factory(factory) is factory
    assert factory(amount=0.5).amount == 0.5
    assert factory.toolkit_check_options({"amount": -1}) == [("", "transform 'Darken': amount must not be negative")]
    assert factory.toolkit_check_options({"amuont": 1})[1] == (
        "amuont",
        "transform 'Darken' has no option 'amuont'; did you mean 'amount'?",
    )
    assert "amount" in factory.toolkit_check_options({})[0][1]


def test_a_lookup_lets_compositions_name_a_plugins_transform() -> None:
    def lookup(name: str) -> TransformFactory | None:
        return as_transform_factory(Darken) if name == "Darken" else albumentations_transform(name)

    one_of = as_transform_factory(albumentations.OneOf, "OneOf", lookup)
    assert one_of.toolkit_check_options({"transforms": [{"name": "Darken", "amount": 0.1}, "HorizontalFlip"]}) == []
    assert problems("OneOf", transforms=[{"name": "Darken"}])[0][0] == "transforms.0.name"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["runs", "predictor", "data.transform_options", "data.finish"])
def test_importing_albumentations_asks_no_server_whichever_file_does_it_first(first: str) -> None:
    code = (
        "import urllib.request as r\n"
        "def refuse(*a, **k): raise SystemExit('asked a server')\n"
        "r.OpenerDirector.open = refuse\n"
        f"import toolkit.{first}"
    )
    environment = {"PATH": "", "PYTHONWARNINGS": "default"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)

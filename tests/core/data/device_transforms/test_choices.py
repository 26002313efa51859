"""Which transforms each sample gets, beside what albumentations itself does in as many calls."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import albumentations as A
import numpy as np
import pytest
from scipy.stats import chi2_contingency

from toolkit.data.device_transforms import Draws
from toolkit.data.device_transforms.choices import ChoiceBuilder

COUNT = 3000


class Mark(A.ImageOnlyTransform):
    """Writes down that it was applied."""

    log: list[str]

    def __init__(self, name: str = "a", p: float = 0.5) -> None:
        super().__init__(p=p)
        self.name = name

    def apply(self, img: Any, **params: Any) -> Any:
        Mark.log.append(self.name)
        return img


def a(p: float = 0.5) -> Mark:
    return Mark("a", p)


def b(p: float = 0.5) -> Mark:
    return Mark("b", p)


def c(p: float = 0.5) -> Mark:
    return Mark("c", p)


def ours(transforms: list[Any]) -> list[str]:
    """What is applied to each sample, in order."""
    builder = ChoiceBuilder()
    choice = builder.of_list(transforms)
    uniforms = Draws((0, 1, 0), np.arange(COUNT)).uniforms(builder.columns.count)
    switches = [np.ones(COUNT, bool) if switch is None else switch for switch in choice.switches(uniforms, None)]
    names = [leaf.transform.name for leaf in choice.leaves]
    return ["".join(itertools.compress(names, row)) for row in np.stack(switches, 1)]


def theirs(transforms: list[Any]) -> list[str]:
    generator, python_generator = np.random.default_rng(7), __import__("random").Random(7)
    for transform in transforms:
        transform.set_random_state(generator, python_generator)
    rows = []
    for _ in range(COUNT):
        Mark.log = []
        for transform in transforms:
            transform(image=np.zeros((2, 2, 3), np.uint8))
        rows.append("".join(Mark.log))
    return rows


LISTS = {
    "p": [a(0.3), b(0.9), c(1)],
    "never": [a(0), b(0.5)],
    "OneOf, by the p of each": [A.OneOf([a(0.1), b(0.5), c(0.4)], p=0.7)],
    "OneOf of compositions": [A.OneOf([A.Sequential([a(1), b(0.2)], p=0.3), A.SomeOf([b(1), c(1)], n=1, p=0.5)], p=1)],
    "Sequential": [A.Sequential([a(0.5), b(0.2)], p=0.6), c(0.5)],
    "SomeOf": [A.SomeOf([a(1), b(0.5), c(0.9)], n=2, p=0.8)],
    "SomeOf with repetition": [A.SomeOf([a(1), b(0.5)], n=3, replace=True)],
    "SomeOf all": [A.SomeOf([a(0.5), b(0.5)], n=2)],
    "RandomOrder": [A.RandomOrder([a(1), b(0.5), c(1)], n=2)],
    "RandomOrder with repetition": [A.RandomOrder([a(1), b(1)], n=2, replace=True)],
    "OneOrOther": [A.OneOrOther(a(0.1), b(0.1), p=0.3)],
    "nested": [A.OneOf([A.OneOf([a(1), b(0.5)]), A.OneOrOther(a(1), c(1), p=0.2)], p=0.9), A.Sequential([A.SomeOf([a(1), b(1)], n=1)])],
}


@pytest.mark.parametrize("name", LISTS)
def test_the_same_transforms_in_the_same_order_as_often_as_albumentations(name: str) -> None:
    mine, other = Counter(ours(LISTS[name])), Counter(theirs(LISTS[name]))
    assert set(mine) == set(other)
    if len(mine) > 1:
        table = [[counts[outcome] for outcome in sorted(mine)] for counts in (mine, other)]
        assert chi2_contingency(table).pvalue > 0.001


def test_transforms_with_the_same_p_fire_independently_of_each_other() -> None:
    outcomes = Counter(ours([a(0.5), b(0.5), A.OneOf([c(1)], p=0.5)]))
    assert len(outcomes) == 8
    assert all(abs(count - COUNT / 8) < 4 * np.sqrt(COUNT * 7 / 64) for count in outcomes.values())  # four standard deviations


def test_a_transform_taken_twice_draws_anew() -> None:
    builder = ChoiceBuilder()
    choice = builder.of_list([A.SomeOf([a(0.5)], n=2, replace=True)])
    first, second = choice.switches(Draws((0,), np.arange(COUNT)).uniforms(builder.columns.count), None)
    assert first is not None
    assert second is not None
    assert abs(float((first == second).mean()) - 0.5) < 0.04

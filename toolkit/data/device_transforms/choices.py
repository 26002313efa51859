"""Which transforms of a nested list each sample gets: `p`, OneOf, SomeOf, Sequential, ... as albumentations draws them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import albumentations
import numpy as np
from albumentations.core.composition import BaseCompose

from toolkit.data.device_transforms.contract import Active, CannotMatchError
from toolkit.data.device_transforms.draws import Uniforms

Switch = Active | None
"""[B] which samples; None: all."""


@dataclass
class Columns:
    """Hands out columns of the uniform numbers, each once."""

    count: int = 0

    def take(self, count: int) -> slice:
        start = self.count
        self.count += count
        return slice(start, self.count)


class Choice(ABC):
    """A node of the nested list."""

    @property
    @abstractmethod
    def leaves(self) -> list[Leaf]:
        """The transforms below, in the order of `switches`."""

    @abstractmethod
    def switches(self, uniforms: Uniforms, active: Switch) -> list[Switch]:
        """For each leaf, which samples it is applied to, given which reach this node."""


@dataclass(frozen=True)
class Leaf(Choice):
    """A transform that is applied wherever it is reached. always: it is reached by every sample."""

    transform: Any
    always: bool

    @property
    def leaves(self) -> list[Leaf]:
        return [self]

    def switches(self, uniforms: Uniforms, active: Switch) -> list[Switch]:
        return [active]


@dataclass(frozen=True)
class Chance(Choice):
    """What is below, with probability p."""

    below: Choice
    p: float
    column: slice

    @property
    def leaves(self) -> list[Leaf]:
        return self.below.leaves

    def switches(self, uniforms: Uniforms, active: Switch) -> list[Switch]:
        return self.below.switches(uniforms, _both(active, uniforms[:, self.column][:, 0] < self.p))


@dataclass(frozen=True)
class Every(Choice):
    """All in order."""

    below: Sequence[Choice]

    @property
    def leaves(self) -> list[Leaf]:
        return [leaf for node in self.below for leaf in node.leaves]

    def switches(self, uniforms: Uniforms, active: Switch) -> list[Switch]:
        return [switch for node in self.below for switch in node.switches(uniforms, active)]


@dataclass(frozen=True)
class One(Choice):
    """One of several; chances: up to which uniform number each is taken, the last 1."""

    below: Sequence[Choice]
    chances: Sequence[float]
    column: slice

    @property
    def leaves(self) -> list[Leaf]:
        return [leaf for node in self.below for leaf in node.leaves]

    def switches(self, uniforms: Uniforms, active: Switch) -> list[Switch]:
        chosen = np.searchsorted(self.chances[:-1], uniforms[:, self.column][:, 0], side="right")
        return [s for i, node in enumerate(self.below) for s in node.switches(uniforms, _both(active, chosen == i))]


@dataclass(frozen=True)
class Some(Choice):
    """`n` of `count`, with or without repetition, in the list's order or as drawn.

    slots: for each transform and repetition (in order), or each turn and transform (as drawn), a node of its own, so that
        a transform taken twice draws anew.
    """

    slots: Sequence[Choice]
    count: int
    n: int
    replace: bool
    in_order: bool
    columns: slice

    @property
    def leaves(self) -> list[Leaf]:
        return [leaf for node in self.slots for leaf in node.leaves]

    def switches(self, uniforms: Uniforms, active: Switch) -> list[Switch]:
        own = uniforms[:, self.columns]
        chosen = np.floor(own * self.count).astype(np.int64) if self.replace else own.argsort(1)[:, : self.n]  # [B, n]
        is_chosen = chosen[:, :, None] == np.arange(self.count)  # [B, n, count]
        if self.in_order:
            times = is_chosen.sum(1)
            most = self.n if self.replace else 1
            takes = [times[:, i] > repeat for i in range(self.count) for repeat in range(most)]
        else:
            takes = [is_chosen[:, turn, i] for turn in range(self.n) for i in range(self.count)]
        return [s for node, take in zip(self.slots, takes, strict=True) for s in node.switches(uniforms, _both(active, take))]


@dataclass
class ChoiceBuilder:
    """Reads a list of albumentations transforms; `columns` counts the uniform numbers that the choices take."""

    columns: Columns = field(default_factory=Columns)

    def of_list(self, transforms: Sequence[Any], *, always: bool = True) -> Every:
        """All in order. always: they are reached by every sample. Raises: UnknownCompositionError."""
        return Every([self.of(transform, always=always) for transform in transforms])

    def of(self, transform: Any, *, always: bool, forced: bool = False) -> Choice:
        """forced: the transform's own p does not count, as within OneOf."""
        if isinstance(transform, albumentations.OneOrOther):  # its p chooses between the two
            return self._either(transform)
        if isinstance(transform, albumentations.SomeOf):
            forced = False  # albumentations does not pass it on
        certain = forced or transform.p >= 1
        column = None if certain else self.columns.take(1)
        always = always and certain
        below = self._below(transform, always) if isinstance(transform, BaseCompose) else Leaf(transform, always)
        return below if column is None else Chance(below, transform.p, column)

    def _below(self, transform: Any, always: bool) -> Choice:
        kind = type(transform)
        if kind is albumentations.OneOf:
            column = self.columns.take(1)
            nodes = [self.of(part, always=False, forced=True) for part in transform.transforms]
            return One(nodes, np.cumsum(transform.transforms_ps).tolist(), column)
        if kind in (albumentations.SomeOf, albumentations.RandomOrder):
            return self._some(transform, in_order=kind is albumentations.SomeOf)
        if kind is albumentations.Sequential:
            return self.of_list(transform.transforms, always=always)
        raise UnknownCompositionError(transform)

    def _some(self, transform: Any, *, in_order: bool) -> Some:
        parts, n, replace = transform.transforms, transform.n, transform.replace
        columns = self.columns.take(n if replace else len(parts))
        repeats = n if replace else 1
        order = [part for part in parts for _ in range(repeats)] if in_order else list(parts) * n
        return Some([self.of(part, always=False) for part in order], len(parts), n, replace, in_order, columns)

    def _either(self, transform: Any) -> One:
        column = self.columns.take(1)
        both = transform.transforms[0], transform.transforms[-1]
        return One([self.of(part, always=False, forced=True) for part in both], [transform.p, 1.0], column)


class UnknownCompositionError(CannotMatchError):
    """A composition that the device engine does not know."""

    def __init__(self, composition: Any) -> None:
        super().__init__("is a composition without a batched twin")
        self.composition = composition


def _both(first: Switch, second: Active) -> Active:
    return second if first is None else first & second

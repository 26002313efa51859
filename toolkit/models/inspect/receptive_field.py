"""Receptive fields: which pixels of the picture one output of a layer depends on.

Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019: behind layers with kernels k,
strides s and paddings p the size is 1 + sum (k_l - 1) S_(l-1), the stride S_l = prod s_i, the padding P_l = sum p_l S_(l-1).
Output v depends on pixels v S - P ... v S - P + size - 1, of which those outside the picture are padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

Number = int | Fraction


@dataclass(frozen=True)
class Axis:
    """The receptive field along one side of the picture, in pixels of the picture.

    Args:
        size: pixels that one output sees.
        stride: pixels between the fields of two neighbours; 0 where all outputs see the same pixels.
        padding: pixels that the first field reaches out of the picture.
        count: outputs along this side.

    >>> Axis(1, 1, 0, 32).windowed(3, padding=1, count=32).windowed(2, stride=2, count=16)
    Axis(size=4, stride=2, padding=1, count=16)
    """

    size: Number
    stride: Number
    padding: Number
    count: int

    def windowed(self, kernel: int, *, stride: Number = 1, padding: Number = 0, dilation: int = 1, count: int) -> Axis:
        """Behind a convolution or a pool."""
        return Axis(
            self.size + dilation * (kernel - 1) * self.stride, whole(self.stride * stride), self.padding + padding * self.stride, count
        )

    def transposed(self, kernel: int, *, stride: int, padding: int, dilation: int, count: int) -> Axis:
        """Behind a transposed convolution; outputs differ in how many inputs they see: this is the most.

        Output o sees inputs i with 0 <= o - i s + p < reach, where reach is the kernel's length with its holes.
        """
        reach = dilation * (kernel - 1) + 1
        first = -((reach - 1 - padding) // stride)  # ceil((p - reach + 1) / s), the first input of output 0
        most = -(-reach // stride)
        return Axis(self.size + (most - 1) * self.stride, whole(Fraction(self.stride) / stride), self.padding - first * self.stride, count)

    def union(self) -> Axis:
        """Behind what sees all outputs at once, such as a dense layer on the flattened map."""
        return Axis(self.size + (self.count - 1) * self.stride, 0, self.padding, 1)

    def joined(self, other: Axis) -> Axis:
        """Behind a sum or a concatenation of two branches: the smallest span that holds both fields."""
        if self.stride != other.stride:
            first, second = self.union(), other.union()
        else:
            first, second = self, other
        padding = max(first.padding, second.padding)
        end = max(first.size - first.padding, second.size - second.padding)
        return Axis(padding + end, first.stride, padding, max(first.count, second.count))


@dataclass(frozen=True)
class Field:
    """The receptive field of every output of a layer.

    several: paths with different fields meet in it (a residual sum, Inception's branches); the field then spans all of them.
    """

    rows: Axis
    columns: Axis
    several: bool = False

    @classmethod
    def of_picture(cls, height: int, width: int) -> Field:
        """Of the picture itself: every pixel sees itself."""
        return cls(Axis(1, 1, 0, height), Axis(1, 1, 0, width))

    @property
    def positions(self) -> int:
        """Outputs along both sides together."""
        return self.rows.count * self.columns.count

    def union(self) -> Field:
        """Behind what sees all positions at once."""
        return replace(self, rows=self.rows.union(), columns=self.columns.union())

    def joined(self, other: Field) -> Field:
        """Behind the meeting of two paths."""
        rows, columns = self.rows.joined(other.rows), self.columns.joined(other.columns)
        same = _span(self) == _span(other)
        return Field(rows, columns, self.several or other.several or not same)


def whole(number: Number) -> Number:
    """An int where the fraction is one."""
    return int(number) if isinstance(number, Fraction) and number.denominator == 1 else number


def _span(field: Field) -> tuple[Number, ...]:
    return tuple(value for axis in (field.rows, field.columns) for value in (axis.size, axis.stride, axis.padding))

"""When two answers count as equal."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.errors import ConfigError
from toolkit.exporting.agreement import largest_difference


def test_differences_are_shares_of_the_largest_answer_but_of_one_at_least() -> None:
    assert largest_difference(np.array([1000.0, 0.0]), np.array([1000.05, 0.0]), "onnx") == pytest.approx(5e-5)
    assert largest_difference(np.array([0.1]), np.array([0.10005]), "onnx") == pytest.approx(5e-5)


def test_other_answers_other_shapes_and_nan_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^export --format keras: the written network answers differently by 0\.1, allowed 0\.0001"):
        largest_difference(np.array([0.5]), np.array([0.6]), "keras")
    with pytest.raises(ConfigError, match=r"the written network gives \[2\], the model \[1\]$"):
        largest_difference(np.zeros(1), np.zeros(2), "onnx")
    with pytest.raises(ConfigError, match="differently by nan"):
        largest_difference(np.array([0.5]), np.array([np.nan]), "onnx")

"""`pretrained:` at the top of a config: the weights that the whole model begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.errors import ConfigError


def frozen(tiny: dict[str, Any]) -> dict[str, Any]:
    """A run whose weights stand still but for its statistics of batch norm."""
    return tiny | {"fit": {"batch_size": 16, "phases": [{"epochs": 1, "optimizer": {"name": "sgd", "lr": 1e-12}}]}}


def test_a_run_begins_with_the_weights_of_the_file_and_is_resumed_without_it(
    finished_run: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    weights = tmp_path / "given.safetensors"
    weights.write_bytes((finished_run / "checkpoints/best/model.safetensors").read_bytes())
    expected = toolkit.evaluate(finished_run, "validation")[0]["val/accuracy"]
    begun = toolkit.run(frozen(tiny), [f"pretrained={weights}"], out=tmp_path / "run")
    assert begun.scores["val/accuracy"] == pytest.approx(expected, abs=0.2)
    assert begun.scores["val/accuracy"] > toolkit.run(frozen(tiny), out=tmp_path / "without").scores["val/accuracy"]
    assert "given.safetensors" in (tmp_path / "run/log.txt").read_text()
    weights.unlink()
    assert toolkit.runs.resume(tmp_path / "run").scores == begun.scores
    assert toolkit.evaluate(tmp_path / "run")[0]["test/accuracy"] == begun.scores["test/accuracy"]


def test_a_file_that_is_not_there_is_named_before_data_are_read(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*args: Any) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr(toolkit.build, "_read_data", read)
    with pytest.raises(ConfigError, match=r"pretrained: no such file: nowhere.pth"):
        toolkit.run(tiny, ["pretrained=nowhere.pth"], out=tmp_path / "run")

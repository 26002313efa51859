"""The benchmark times every loop and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.bench import BenchResult, bench
from toolkit.errors import ConfigError

CONFIG = {
    "task": "classification",
    "data": {"name": "synthetic_shapes", "size": 60, "image_size": 16},
    "transforms": {"train": ["HorizontalFlip", "Normalize"], "eval": ["Normalize"]},
    "model": {"name": "mlp", "hidden": [8]},
    "fit": {"batch_size": 10, "phases": [{"epochs": 1, "optimizer": "sgd"}]},
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
}


def test_every_loop_is_timed_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench(CONFIG, seconds=0.01, rounds=3)
    assert result.batch_size == 10
    assert result.bare is not None
    assert min(result.real, result.bare, result.bare_without_transforms, result.data, result.efficiency) > 0
    assert result.as_json()["engine"].startswith("device engine on cpu: 1 transform on whole batches; 54 pictures")
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_runs_sample_by_sample_has_no_bare_loop_with_transforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench(CONFIG, ["transforms.train=[ElasticTransform, Normalize]", "loader.workers=0"], seconds=0.01, rounds=1)
    assert result.bare is None
    assert "- (some transforms run sample by sample)" in str(result)


def test_the_phase_that_is_asked_for_is_timed() -> None:
    two = CONFIG | {
        "fit": {"batch_size": 10, "phases": [{"epochs": 1, "optimizer": "sgd"}, {"epochs": 1, "train": "classifier", "optimizer": "sgd"}]}
    }
    assert bench(two, seconds=0.01, rounds=1, phase=2).real > 0
    with pytest.raises(ConfigError, match=r"there is no phase 3 to time; fit.phases has 2"):
        bench(two, seconds=0.01, rounds=1, phase=3)


@pytest.mark.parametrize(("data", "verdict"), [(150.0, "data-bound"), (250.0, "compute-bound")])
def test_the_verdict_is_what_takes_most_of_the_time(data: float, verdict: str) -> None:
    result = BenchResult("config", "engine", "cpu", 10, 1, 100.0, 110.0, 120.0, data, 0.9, 512.0)
    assert result.verdict.startswith(verdict)
    assert f"(making batches takes {100 / data:.0%} of the time)" in str(result)
    assert "peak memory                       512 MiB" in str(result)

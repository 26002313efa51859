"""The benchmark times every loop and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.bench import bench

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

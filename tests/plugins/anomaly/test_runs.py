"""Whole runs: a trained one with its predictions, one-pass methods, diagnosis, and bad input with its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.data.images import read_image
from toolkit.errors import DataError
from toolkit.runs import RunResult

CONFIGS = Path(__file__).parents[3] / "configs"
TINY = (
    "data={name: synthetic_nuts, size: 24, image_size: 32, validation: {share: 0.25, seed: 0}}",
    "runtime.threads=1",
    "runtime.device=cpu",
)
TRAINED = (
    *TINY,
    "transforms={train: [], eval: []}",
    "model={bottleneck: 8, channels: [8, 8], strides: [2, 2], skips: false, corruption: 0.0}",
    "fit={batch_size: 8, phases: [{epochs: 2, optimizer: {name: adam, lr: 1e-3}}]}",
)


def run(config: str, overrides: Sequence[str], out: Path) -> RunResult:
    return toolkit.run(str(CONFIGS / config), overrides, synthetic=True, out=out)


@pytest.mark.slow
def test_a_trained_run_scores_calibrates_and_predicts_map_mask_and_regions(tmp_path: Path) -> None:
    result = run("anomaly_autoencoder.yaml", [*TRAINED, "task.diagnose_on_test=true"], tmp_path / "run")
    assert {"test/image_auroc", "test/pixel_auroc", "test/aupro", "test/pixel_f1", "test/recall@0.1/crack"} <= result.scores.keys()
    assert result.undefined["val/image_auroc"] == "there are no defective pictures"
    assert (tmp_path / "run/plots/diagnose_on_test.png").is_file()
    assert [line.startswith('{"epoch": ') for line in (tmp_path / "run/diagnose_on_test.jsonl").read_text().splitlines()] == [True, True]
    predictor = toolkit.load(tmp_path / "run")
    file = tmp_path / "picture.png"
    Image.fromarray(np.full((48, 40, 3), 200, np.uint8)).save(file)
    (answer,) = predictor.predict_files([file], tmp_path / "out")
    assert answer["threshold"] is not None
    assert isinstance(answer["regions"], list)
    for kind in ("map", "mask"):
        (picture,) = (tmp_path / "out").glob(f"*picture_{kind}.png")
        assert read_image(picture).shape[:2] == (48, 40)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["anomaly_padim.yaml", "anomaly_patchcore.yaml"])
def test_one_pass_methods_run_and_their_memory_is_loaded_again(config: str, tmp_path: Path) -> None:
    small = "model={layers: [body.layer1], " + ("dimensions: 8}" if "padim" in config else "share: 0.05}")
    result = run(config, [*TINY, small], tmp_path / "run")
    assert 0 <= result.scores["test/image_auroc"] <= 1
    prediction = toolkit.load(tmp_path / "run").prediction(np.full((32, 32, 3), 128, np.uint8))
    assert torch.isfinite(prediction.scores).all()
    assert prediction.scores.max() > 0


def test_an_empty_good_folder_ends_with_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "train/good").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train/good: has no pictures; expected good ones to train with") as caught:
        toolkit.run(str(CONFIGS / "anomaly_autoencoder.yaml"), [f"data.root={tmp_path}", "data.category=''"], out=tmp_path / "run")
    assert caught.value.exit_code == 3


def test_every_mask_of_another_size_is_named_before_the_first_step(tmp_path: Path) -> None:
    picture, mask = np.full((16, 16, 3), 90, np.uint8), np.full((8, 16), 255, np.uint8)
    for folder in ("train/good", "test/good", "test/dent", "ground_truth/dent"):
        (tmp_path / folder).mkdir(parents=True)
    for n in range(4):
        Image.fromarray(picture).save(tmp_path / f"train/good/{n}.png")
        Image.fromarray(picture).save(tmp_path / f"test/dent/{n}.png")
        Image.fromarray(mask).save(tmp_path / f"ground_truth/dent/{n}.png")
    Image.fromarray(picture).save(tmp_path / "test/good/0.png")
    with pytest.raises(DataError) as caught:
        toolkit.run(str(CONFIGS / "anomaly_autoencoder.yaml"), [f"data.root={tmp_path}", "data.category=''"], out=tmp_path / "run")
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 of 5 samples of the test part cannot be used"
    assert all(f"dent/{n}.png: the mask is 8 high, 16 wide, but its picture" in line for n, line in enumerate(lines[1:]))

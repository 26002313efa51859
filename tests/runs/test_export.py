"""`toolkit export` of a run: the files, what stands beside them, and equal answers in the other library."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import toolkit
from toolkit.components import build_with_parts
from toolkit.errors import ConfigError
from toolkit.exporting.export import export
from toolkit.exporting.finished import load_finished
from toolkit.exporting.onnx_file import write_onnx
from toolkit.models.optional import require
from toolkit.models.weights import load_pretrained
from toolkit_pose.cascade import DeepPose
from toolkit_pose.models import AlexNetForm, HeatmapHead, PoseNet
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info


def test_weights_of_a_run_come_back_by_name_with_equal_answers(finished_run: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    file = tmp_path / "out" / "model.safetensors"
    done: CompletedProcess[str] = command("export", finished_run, "--format", "safetensors", "--out", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(file), f"{file}.json"]
    run = load_finished(finished_run)
    fresh = build_with_parts(run.config.model, run.info, run.info).eval()
    load_pretrained(fresh, file)
    images = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(fresh(images), run.model(images))
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.safetensors", "model.safetensors.json"]


def test_the_json_beside_says_how_pictures_are_prepared(tiny: dict[str, Any], tmp_path: Path) -> None:
    steps = [{"name": "Resize", "height": 12, "width": 20}, {"name": "Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.5, 0.2]}]
    folder = toolkit.run(
        tiny | {"transforms": {"train": steps, "eval": steps}, "plots": []}, ["fit.phases.0.epochs=1"], out=tmp_path / "run"
    ).folder
    file, beside = export(folder, "safetensors")
    assert file == folder / "export" / "model.safetensors"
    told = json.loads(beside.read_text())
    assert told["input"] == {"name": "images", "layout": "NCHW", "shape": ["any", 3, 12, 20], "channels": "RGB", "type": "float32"}
    assert [step["name"] for step in told["preprocessing"]["transforms"]] == ["Resize"]
    assert told["preprocessing"]["scale"] == pytest.approx([1 / 255 / 0.25, 1 / 255 / 0.5, 1 / 255 / 0.2])
    assert told["preprocessing"]["offset"] == pytest.approx([-0.5 / 0.25, -0.4 / 0.5, -0.3 / 0.2])
    assert told["outputs"] == ["output"]
    assert told["output_meaning"].startswith("logits")
    assert told["info"]["classes"][:2] == ["circle", "square"]


@pytest.mark.slow
def test_outputs_that_are_no_numbers_or_absent_are_exported_as_they_are(tmp_path: Path) -> None:
    """A pose network gives a flag per keypoint, and no deviations without `likelihood`."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    info = pose_info(LSP_KEYPOINTS, (3, 16, 16))
    model = PoseNet(info, backbone=AlexNetForm((3, 64, 64)), head=HeatmapHead((256, 1, 1), info, channels=(4, 4)))
    names = write_onnx(model.eval(), (3, 64, 64), tmp_path / "model.onnx")
    assert names == ("stages", "boxes", "counted", "log_shares")


@pytest.mark.slow
def test_a_cascade_is_exported_with_the_stages_that_learnt(tmp_path: Path) -> None:
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    info = pose_info(LSP_KEYPOINTS, (3, 80, 80))
    model = DeepPose(info, backbone=AlexNetForm((3, 64, 64)), input_size=64, hidden=(8,), flip_average=True).eval()
    model.starts[1] = 1  # stage 2 of 3 refines stage 1
    torch.manual_seed(0)
    for stage in (1, 2):  # far from the middle, where new heads look, or errors in boxes and crops would not show
        nn.init.normal_(model.get_parameter(f"stage{stage}.head.points.weight"), std=0.5)
    found = model(torch.rand(3, 3, 80, 80)).stages
    assert (found[:, 1] - found[:, 0]).abs().max() > 0.02
    assert write_onnx(model, (3, 80, 80), tmp_path / "model.onnx") == ("stages", "boxes", "counted")
    session = importlib.import_module("onnxruntime").InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(["stages"], {"images": np.zeros((5, 3, 80, 80), np.float32)})[0].shape == (5, 2, 14, 2)


def test_a_network_that_onnx_cannot_write_is_told_with_the_cause(tmp_path: Path) -> None:
    class Sorting(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if float(images.sum()) > 0 else -images

    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    with pytest.raises(
        ConfigError, match=r"^export --format onnx: this network cannot be written: \w+: [^\n\x1b]*data-dependent[^\n\x1b]*$"
    ):
        write_onnx(Sorting(), (3, 4, 4), tmp_path / "model.onnx")


@pytest.mark.slow
def test_onnx_answers_as_the_run_does_for_any_number_of_pictures(finished_run: Path, tmp_path: Path) -> None:
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    file, beside = export(finished_run, "onnx", tmp_path / "model.onnx")
    session = importlib.import_module("onnxruntime").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.json"]
    assert json.loads(beside.read_text())["outputs"] == [output.name for output in session.get_outputs()]
    run = load_finished(finished_run)
    for count in (1, 5):
        images = torch.rand(count, 3, 16, 16)
        with torch.no_grad():
            expected = run.model(images).numpy()
        np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_keras_answers_as_the_run_does(finished_run: Path, tmp_path: Path) -> None:
    try:
        keras = require("keras", extra="keras", purpose="this test")
    except ConfigError as error:
        pytest.skip(str(error))
    file, beside = export(finished_run, "keras", tmp_path / "model.keras")
    assert json.loads(beside.read_text())["input"]["shape"] == ["any", 16, 16, 3]
    images = torch.rand(3, 3, 16, 16)
    theirs = keras.saving.load_model(file, compile=False)(images.permute(0, 2, 3, 1).numpy(), training=False)
    with torch.no_grad():
        expected = load_finished(finished_run).model(images).numpy()
    np.testing.assert_allclose(np.asarray(keras.ops.convert_to_numpy(theirs)), expected, atol=1e-4)


def test_a_missing_library_is_named_with_its_extra(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr("toolkit.models.optional.importlib.import_module", missing)
    message = r"^exporting to ONNX needs onnx \(No module named 'onnx'\); install it with pip install 'vision-toolkit\[export\]'$"
    with pytest.raises(ConfigError, match=message):
        export(finished_run, "onnx", tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=r"^exporting to Keras needs keras .*'vision-toolkit\[keras\]'$"):
        export(finished_run, "keras", tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_of_another_format_is_refused(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--out .*model\.pb: expected a name that ends with \.safetensors$"):
        export(finished_run, "safetensors", tmp_path / "model.pb")

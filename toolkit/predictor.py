"""`toolkit.load(run).predict(image)`: a trained model without its data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import torch
from torch import Tensor, nn

from toolkit.build import eval_transforms
from toolkit.components import build_component, build_with_parts
from toolkit.config import load_config
from toolkit.data.images import SUFFIXES, is_image_name, read_image, write_png
from toolkit.data.sample import Pixels, Sample, Target
from toolkit.data.transforms import TransformList
from toolkit.data.tree import select, to_device, to_float32
from toolkit.errors import DataError
from toolkit.extension.discovery import load_plugins
from toolkit.reporting.files import disk_errors
from toolkit.reporting.run_dir import RunDir
from toolkit.run_folder import load_chosen, read_beginning, read_info, runtime_here
from toolkit.task import Task
from toolkit.training.runtime import Runtime, active, with_layout

Picture = str | Path | Pixels


class Predictor:
    """A run's chosen model, ready to answer.

    Args:
        task: decodes, describes and draws.
        model: with its weights, on the device.
        transforms: the run's eval transforms.
    """

    def __init__(self, task: Task[Any, Any, Any, Any], model: nn.Module, transforms: TransformList, runtime: Runtime) -> None:
        self.task = task
        self.model = model.eval()
        self._transforms = transforms
        self._runtime = runtime

    def predict(self, image: Picture) -> dict[str, Any]:
        """The answer for one picture as JSON values, such as {"class": "cat", "probability": 0.98, ...}.

        A picture that the eval transforms leave in another size than the model was trained on is resized to it.

        Args:
            image: a file, or [H, W, C] uint8 with C = 1 or 3 (RGB).
        """
        pixels = self._pixels(image)
        return dict(self.task.describe(self.prediction(pixels), _size(pixels)))

    def prediction(self, image: Picture) -> Any:
        """The answer for one picture as the task's own prediction, in pixels of the picture."""
        output, to_original = self._forward(self._pixels(image))
        prediction = self.task.decode(output, to_original)
        return select(to_device(prediction, torch.device("cpu")), 0)

    def predict_files(self, files: Sequence[Path], out: Path) -> Iterator[dict[str, Any]]:
        """Each file's answer, with the file and the picture drawn into the folder `out`; of a folder, every picture right in it.

        Raises: DataError before the first answer if a file is missing or a folder has no pictures; after the last one, if some cannot
            be read, naming all of them.
        """
        files = [file for given in files for file in _pictures_of(given)]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise DataError(f"no such picture: {', '.join(missing)}")
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        unreadable = []
        for number, file in enumerate(files):
            try:
                pixels = self._pixels(file)
            except DataError as error:
                unreadable.append(str(error))
                continue
            prediction = self.prediction(pixels)
            drawing = out / f"{number:04d}_{file.stem}.png"
            drawn = self.task.draw(_as_rgb(pixels), prediction, None)
            write_png(drawing, drawn.permute(1, 2, 0).numpy())
            answer = {"image": str(file), **self.task.describe(prediction, _size(pixels)), "picture": str(drawing)}
            for name, picture in self.task.pictures(prediction, _size(pixels)).items():
                further = drawing.with_name(f"{drawing.stem}_{name}.png")
                write_png(further, picture.permute(1, 2, 0).numpy())
                answer[name] = str(further)
            yield answer
        if unreadable:
            raise DataError("\n  ".join(([f"{len(unreadable)} pictures cannot be read"] if len(unreadable) > 1 else []) + unreadable))

    def _pixels(self, image: Picture) -> Pixels:
        channels = self.task.info.input_shape[0]
        if isinstance(image, str | Path):
            return read_image(image, channels=1 if channels == 1 else 3)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
            raise DataError(f"a picture must be [H, W, {channels}] uint8, got {list(image.shape)} {image.dtype}")
        return image

    def _forward(self, pixels: Pixels) -> tuple[Any, Tensor]:
        sample = self._transforms.prepare(Sample("picture", pixels, Target()))
        sample = _resized(self._transforms.augment(sample, (0,)), self.task.info.input_shape)
        images = torch.from_numpy(np.ascontiguousarray(sample.image)[None]).to(self._runtime.device)
        to_original = torch.from_numpy(sample.to_original).float()[None].to(self._runtime.device)
        with active(self._runtime), torch.inference_mode(), self._runtime.autocast():
            output = self.model(self._transforms.finish(images, channels_last=self._runtime.channels_last))
        return to_float32(output), to_original


def load(folder: str | Path) -> Predictor:
    """The model of a finished (or stopped) run; its data set is not needed.

    Args:
        folder: a run folder, or `latest` beside it.

    Raises: ConfigError if there is no run; CheckpointError if it has no valid checkpoint yet.
    """
    run_dir = RunDir.open(Path(folder))
    plugins = load_plugins([Path(file) for file in read_beginning(run_dir).plugin_files])
    config, _ = load_config(run_dir.config_yaml, registry=plugins.registry)
    info = read_info(run_dir, config.task.component.factory.info_type)  # type: ignore[attr-defined]
    model: nn.Module = build_with_parts(config.model, info, info)
    runtime = with_layout(runtime_here(config.runtime), config.runtime, model)
    task = build_component(config.task, info)
    load_chosen(model, task, run_dir, config.fit.select.use)
    return Predictor(task, runtime.place(model), eval_transforms(config), runtime)


def _pictures_of(given: Path) -> list[Path]:
    """The file itself, or the pictures of a folder in the order of their names."""
    if not given.is_dir():
        return [given]
    pictures = sorted(file for file in given.iterdir() if is_image_name(file))
    if not pictures:
        raise DataError(f"no picture in the folder {given}; expected files that end with {', '.join(sorted(SUFFIXES))}")
    return pictures


def _resized(sample: Sample[Any], shape: tuple[int, int, int]) -> Sample[Any]:
    _, height, width = shape
    if sample.image.shape[:2] == (height, width):
        return sample
    return TransformList([albumentations.Resize(height, width)], evaluation=True).prepare(sample)


def _size(pixels: Pixels) -> tuple[int, int]:
    height, width, _ = pixels.shape
    return height, width


def _as_rgb(pixels: Pixels) -> Tensor:
    """[H, W, 1 or 3] -> [3, H, W]."""
    rgb = np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))  # a copy: torch warns about views that must not be written to
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()

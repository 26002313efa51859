"""`visualize`: look inside a network: first filters, feature maps, saliency, Grad-CAM, and the scale of signals and gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.build import eval_transforms, info_of
from toolkit.components import build_component, build_dataset, build_with_parts
from toolkit.config import load_config
from toolkit.config.run_config import PhaseConfig, RunConfig
from toolkit.data.images import read_image
from toolkit.data.sample import DataInfo, Sample, Target
from toolkit.data.transforms import TransformList
from toolkit.data.tree import select, stack
from toolkit.errors import ConfigError, DataError
from toolkit.evaluation.evaluate import total_loss
from toolkit.exporting.finished import FinishedRun, as_network_sees, load_finished
from toolkit.extension.discovery import load_plugins
from toolkit.models.inspect import Layer, inspect_model
from toolkit.models.inspect.saliency import feature_maps, saliency, saliency_and_grad_cam
from toolkit.models.inspect.scales import LayerScale, layer_scales
from toolkit.models.weights import load_pretrained
from toolkit.reporting.figures import save_figure
from toolkit.reporting.files import write_json_atomic
from toolkit.reporting.network_pictures import plot_feature_maps, plot_filters, plot_saliency, plot_scales
from toolkit.task import Task
from toolkit.training.phases import trained_part
from toolkit.training.runtime import seed_torch

SHOWN_PICTURES = 4
"""How many of the data set's pictures are looked at where none are named."""

SCALE_PICTURES = 64
"""How many training pictures the scales are measured on, spread evenly over the data set."""


@dataclass(frozen=True)
class Pictures:
    """What was made: files written, and the scales (none where pictures were named, as they have no truth)."""

    files: tuple[Path, ...]
    scales: tuple[LayerScale, ...]


def visualize(folder: str | Path, pictures: Sequence[Path] = (), *, layer: str | None = None, out: Path | None = None) -> Pictures:
    """Look inside a finished run.

    Args:
        pictures: files; without any, the first test pictures of the run's data set. With them the data set is not read, and no
            scales are measured.
        layer: whose feature maps are shown and which Grad-CAM explains; by default the first convolution's and the last map.
        out: the folder; default `inside/` in the run folder.

    Raises: ConfigError if there is no run or no such layer; DataError if a picture or the data set is missing.
    """
    run = load_finished(folder)
    out = out or run.folder.path / "inside"
    layers = inspect_model(run.model, run.info.input_shape).layers
    samples = [_sample(file, run.info) for file in pictures] or _first_samples(run.config)
    images, _ = as_network_sees(samples, run.transforms, run.info)
    files = [*_filters(run.model, run.info, out)]
    names = [_safe(sample.id) for sample in samples]
    if maps := [x.name for x in layers if len(x.output_shape) == 3 and x.name]:
        chosen = _chosen(layer, maps)
        files += _feature_maps(run.model, images, chosen or _first_convolution(layers) or maps[0], names, out)
        files += _saliency(run, images, chosen or _last_map(layers) or maps[-1], names, out)
    elif layer is not None:
        raise ConfigError(f"--layer {layer}: no layer of this network gives a map")
    else:
        files += _saliency(run, images, None, names, out)
    scales = () if pictures else _measured(run.config, run.info, run.task, run.model, run.transforms, run.config.fit.phases[-1:])
    return Pictures((*files, *_write_scales(scales, run.config.model.name, out)), scales)


def visualize_untrained(
    config: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    synthetic: bool = False,
    out: Path = Path("inside"),
    plugin_files: Sequence[str | Path] = (),
) -> Pictures:
    """The scale of signals and gradients of a config's network as its first step meets it, from the config's own seed."""
    plugins = load_plugins([Path(file) for file in plugin_files])
    checked, _ = load_config(config, overrides=overrides, synthetic=synthetic, registry=plugins.registry)
    transforms = eval_transforms(checked)
    info = info_of(build_dataset(checked.data, "train"), transforms)
    task: Task[Any, Any, Any, Any] = build_component(checked.task, info)
    seed_torch(checked.seed)
    model: nn.Module = build_with_parts(checked.model, info, info)
    if checked.pretrained is not None:
        load_pretrained(model, checked.pretrained)
    scales = _measured(checked, info, task, model, transforms, checked.fit.phases[:1])
    return Pictures(_write_scales(scales, f"{checked.model.name}, before its first step", out), scales)


def _measured(
    config: RunConfig,
    info: DataInfo,
    task: Task[Any, Any, Any, Any],
    model: nn.Module,
    transforms: TransformList,
    phases: Sequence[PhaseConfig],
) -> tuple[LayerScale, ...]:
    """On training pictures without augmentation, while the part learns that the phase trains (no phase: the whole model).

    The rest is frozen, as in training, and stays so.
    """
    dataset = build_dataset(config.data, "train")
    places = np.linspace(0, len(dataset) - 1, min(SCALE_PICTURES, len(dataset))).astype(int)
    images, targets = as_network_sees([dataset[int(place)] for place in places], transforms, info)
    encoded = task.encode(stack(targets), (images.shape[2], images.shape[3]))
    loss = build_with_parts(config.loss, info, info)
    guided = getattr(type(model), "guided", False)

    def forward() -> Tensor:
        output = model(images, encoded) if guided else model(images)
        return total_loss(loss(output, encoded)).mean()

    if not phases:
        return layer_scales(model, forward)
    part = trained_part(model, phases[0].train)
    part.freeze_the_rest()
    return layer_scales(model, forward, part.train_mode)


def _write_scales(scales: Sequence[LayerScale], title: str, out: Path) -> tuple[Path, ...]:
    if not scales:
        return ()
    save_figure(plot_scales(scales, title), out / "scales.png")
    write_json_atomic(out / "scales.json", [dataclasses.asdict(scale) for scale in scales])
    return out / "scales.png", out / "scales.json"


def _filters(model: nn.Module, info: DataInfo, out: Path) -> Sequence[Path]:
    """The first layer's weights, where they look at pixels: kernels, or rows of a dense layer laid out as the picture."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)), None)
    if first is None:
        return ()
    weight = first.weight.detach()
    if isinstance(first, nn.Linear):
        if weight.shape[1] != int(np.prod(info.input_shape)):
            return ()
        weight = weight.view(-1, *info.input_shape)
    save_figure(plot_filters(weight.numpy(), "first layer"), out / "filters.png")
    return (out / "filters.png",)


def _feature_maps(model: nn.Module, images: Tensor, layer: str, names: Sequence[str], out: Path) -> Sequence[Path]:
    files = []
    for number, (maps, name) in enumerate(zip(feature_maps(model, images, layer), names, strict=True)):
        files.append(out / f"features_{_safe(layer)}_{number:02d}_{name}.png")
        save_figure(plot_feature_maps(maps.numpy(), f"{layer}, {name}"), files[-1])
    return files


def _saliency(run: FinishedRun, images: Tensor, layer: str | None, names: Sequence[str], out: Path) -> Sequence[Path]:
    """One picture each; with Grad-CAM where there is a layer for it."""
    pixels, cams = (saliency(run.model, images), None) if layer is None else saliency_and_grad_cam(run.model, images, layer)
    with torch.no_grad():
        prediction = run.task.decode(run.model(images), torch.eye(3).expand(len(images), 3, 3))
    size = (images.shape[2], images.shape[3])
    files = []
    for number, name in enumerate(names):
        answer = _answer(run.task.describe(select(prediction, number), size))
        cam = None if cams is None else cams[number].numpy()
        files.append(out / f"saliency_{_safe(layer) + '_' if layer else ''}{number:02d}_{name}.png")
        save_figure(plot_saliency(images[number].numpy(), pixels[number].numpy(), cam, answer, layer or ""), files[-1])
    return files


def _answer(described: Mapping[str, Any]) -> str:
    """The first word of an answer, such as a class; nothing where it is a list."""
    first = next(iter(described.values()), "")
    return str(first) if isinstance(first, str | int | float) else ""


def _chosen(layer: str | None, maps: Sequence[str]) -> str | None:
    if layer is not None and layer not in maps:
        some = ", ".join(maps[:8]) + (", ..." if len(maps) > 8 else "")
        raise ConfigError(f"--layer {layer}: no layer of that name gives a map; there are: {some} (`toolkit summary` lists all)")
    return layer


def _first_convolution(layers: Sequence[Layer]) -> str | None:
    return next((x.name for x in layers if x.macs and x.window and len(x.output_shape) == 3), None)


def _last_map(layers: Sequence[Layer]) -> str | None:
    """The last layer whose map has more than one position."""
    maps = [x.name for x in layers if len(x.output_shape) == 3 and x.output_shape[1] * x.output_shape[2] > 1 and x.name]
    return maps[-1] if maps else None


def _first_samples(config: RunConfig) -> list[Sample[Any]]:
    train = build_dataset(config.data, "train")
    part = next((split for split in ("test", "validation") if split in train.splits), None)
    dataset = build_dataset(config.data, part) if part else train
    return [dataset[index] for index in range(min(SHOWN_PICTURES, len(dataset)))]


def _sample(file: Path, info: DataInfo) -> Sample[Any]:
    if not file.is_file():
        raise DataError(f"no such picture: {file}")
    return Sample(file.stem, read_image(file, channels=1 if info.input_shape[0] == 1 else 3), Target())


def _safe(name: str) -> str:
    """A name that is one word of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)

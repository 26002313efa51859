"""Components of a config -> objects.

What the toolkit supplies to each kind of component, before the options:

| kind | supplied |
|---|---|
| task, model, loss, metric, plot, batch_transform | info |
| dataset | split |
| backbone | input_shape: C, H, W |
| head | in_shape: C, H, W of the backbone built before it, info |
| transform | - |
| optimizer | params |
| schedule | steps |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config.run_config import ComponentConfig
from toolkit.data.sample import DataInfo, Dataset, Split
from toolkit.errors import PluginError, ToolkitError
from toolkit.models.model import Shape, output_shape


def build_component(config: ComponentConfig, *supplied: Any) -> Any:
    """Call a component that has no nested ones.

    Raises: PluginError where the component itself fails, naming it; a ToolkitError of its own passes.
    """
    return _call(config, supplied, config.options)


def build_dataset(config: ComponentConfig, split: Split) -> Dataset[Any]:
    """A data set; those nested in it are built for the same split."""
    options: dict[str, Any] = {}
    for name, value in config.options.items():
        if isinstance(value, tuple) and any(isinstance(item, ComponentConfig) for item in value):
            options[name] = tuple(build_dataset(item, split) for item in value)
        else:
            options[name] = value
    dataset: Dataset[Any] = _call(config, (split,), options)
    return dataset


def build_with_parts(config: ComponentConfig, info: DataInfo, *supplied: Any) -> Any:
    """Call a component whose options may be components; those are built first, in the order of the signature.

    A head is given the output shape of the backbone built before it.
    """
    shape = info.input_shape
    options: dict[str, Any] = {}
    for name, value in config.options.items():
        if isinstance(value, ComponentConfig):
            options[name], shape = _build_part(value, info, shape)
        elif isinstance(value, tuple) and any(isinstance(item, ComponentConfig) for item in value):
            options[name] = tuple(_build_part(item, info, shape)[0] for item in value)
        else:
            options[name] = value
    return _call(config, supplied, options)


def _build_part(config: ComponentConfig, info: DataInfo, shape: Shape) -> tuple[Any, Shape]:
    """A nested component and the shape that what follows it sees."""
    kind = config.component.kind
    supplied: tuple[Any, ...] = {"backbone": (shape,), "head": (shape, info), "transform": ()}.get(kind, (info,))
    part = build_with_parts(config, info, *supplied)
    return part, output_shape(part, shape) if kind == "backbone" else shape


def _call(config: ComponentConfig, supplied: Sequence[Any], options: Mapping[str, Any]) -> Any:
    try:
        return config.component.factory(*supplied, **options)
    except ToolkitError:
        raise
    except Exception as error:
        component = config.component
        raise PluginError(
            f"{config.position}: {component.kind} '{component.name}' of {component.origin} failed: {type(error).__name__}: {error}"
        ) from error

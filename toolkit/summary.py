"""`summarise`: the network of a config, looked at without training it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from toolkit.build import eval_transforms, info_of
from toolkit.components import build_dataset, build_with_parts
from toolkit.config import load_config
from toolkit.config.run_config import ComponentConfig
from toolkit.extension.discovery import load_plugins
from toolkit.models.inspect import Inspection, inspect_model
from toolkit.reporting.architecture import plot_architecture
from toolkit.reporting.figures import save_figure
from toolkit.reporting.layer_table import inspection_as_json, layer_table


@dataclass(frozen=True)
class Summary:
    """What a config's network is made of. model: its name, of a composed network those of its parts."""

    model: str
    inspection: Inspection

    def as_json(self) -> dict[str, Any]:
        """The layers and totals as JSON values."""
        return {"model": self.model, **inspection_as_json(self.inspection)}

    def save_picture(self, file: Path) -> None:
        """Draw the network with its shapes into a PNG."""
        save_figure(plot_architecture(self.inspection, self.model), file)

    def __str__(self) -> str:
        return layer_table(self.inspection)


def summarise(
    config: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    synthetic: bool = False,
    plugin_files: Sequence[str | Path] = (),
) -> Summary:
    """Layers, shapes, parameters, multiplications, memory and receptive fields of a config's network.

    Of the data one sample is read: the pictures' size and the number of outputs follow from it. Nothing is written.

    Raises: ConfigError, DataError or PluginError as a run would.
    """
    plugins = load_plugins([Path(file) for file in plugin_files])
    checked, _ = load_config(config, overrides=overrides, synthetic=synthetic, registry=plugins.registry)
    info = info_of(build_dataset(checked.data, "train"), eval_transforms(checked))
    model: nn.Module = build_with_parts(checked.model, info, info)
    parts = [option.name for option in checked.model.options.values() if isinstance(option, ComponentConfig)]
    return Summary(" + ".join(parts) or checked.model.name, inspect_model(model, info.input_shape))

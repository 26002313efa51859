"""torchvision's and timm's networks as backbones, by their own names: `torchvision/alexnet`, `timm/resnet18`."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError, ResourceError
from toolkit.models.model import Backbone, Shape
from toolkit.models.weights import read_tensors

Output = Literal["map", "vector"]
SIDE_OUTPUTS = {"aux1", "aux2", "AuxLogits"}
"""Classifiers halfway through torchvision's GoogLeNet and Inception v3."""


class WrappedBackbone(Backbone):
    """A third party's network behind the backbone interface.

    Args:
        body: [B, 3 or C, H, W] -> [B, C', H', W'] or [B, C'].
        repeat_channels: one-channel pictures are shown to the body as three equal channels.
    """

    def __init__(self, body: nn.Module, *, repeat_channels: bool) -> None:
        super().__init__()
        self.body = body
        self.repeat_channels = repeat_channels

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']; a body that gives vectors gets H' = W' = 1."""
        if self.repeat_channels:
            images = images.expand(-1, 3, -1, -1)
        features: Tensor = self.body(images)
        return features if features.ndim == 4 else features[:, :, None, None]


def torchvision_backbone(name: str) -> Callable[..., Any] | None:
    """The factory of torchvision's classification network `name`, or None."""
    return partial(build_torchvision, name) if name in torchvision_names() else None


def torchvision_names() -> Iterable[str]:
    """Every classification network of torchvision."""
    import torchvision

    return cast(list[str], torchvision.models.list_models(module=torchvision.models))


def timm_backbone(name: str) -> Callable[..., Any] | None:
    """The factory of timm's network `name` (with or without a pretrained tag), or None."""
    import timm

    return partial(build_timm, name) if timm.is_model(name.partition(".")[0]) else None


def timm_names() -> Iterable[str]:
    """Every network of timm."""
    import timm

    return cast(list[str], timm.list_models())


def build_torchvision(name: str, input_shape: Shape, /, *, pretrained: bool | str = False, output: Output = "map") -> Backbone:
    """A network of torchvision without its last layer.

    Args:
        pretrained: true fetches torchvision's best weights; a path reads a file of the whole network: .pth as torchvision publishes it,
            or .safetensors. Its last linear layer may have any number of outputs: it is not used.
        output: map gives the last feature map, vector what the network's last linear layer sees.
    """
    import torchvision

    try:
        network = torchvision.models.get_model(name, weights=None)
        if pretrained is True:  # not through get_model, which would run whatever code the file holds
            network.load_state_dict(torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(weights_only=True))
    except OSError as error:
        raise cannot_fetch(f"torchvision/{name}", error) from error
    if isinstance(pretrained, str):
        may_differ = tuple(filter(None, (_last_linear(network), *SIDE_OUTPUTS)))
        load_weights(network, Path(pretrained), owner=f"torchvision/{name}", may_differ=may_differ)
    _cut_side_outputs(network)
    body = _torchvision_map(name, network) if output == "map" else _without_last_linear(name, network)
    return WrappedBackbone(body, repeat_channels=input_shape[0] == 1)


def build_timm(name: str, input_shape: Shape, /, *, pretrained: bool | str = False, output: Output = "map") -> Backbone:
    """A network of timm without its classifier.

    Args:
        pretrained: true fetches timm's weights; a path reads a .safetensors or .pth file of the whole network.
        output: map gives the last feature map (a network without one gives its pooled vector), vector the pooled vector.
    """
    import timm

    options: dict[str, Any] = {"num_classes": 0, "in_chans": input_shape[0]}
    if timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        options["img_size"] = input_shape[1:]
    try:
        network = timm.create_model(name, pretrained=pretrained is True, **options)
    except (OSError, RuntimeError) as error:
        if pretrained is not True:
            raise
        raise cannot_fetch(f"timm/{name}", error) from error
    if isinstance(pretrained, str):
        classifier = network.pretrained_cfg.get("classifier", "fc")
        may_differ = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load_weights(network, Path(pretrained), owner=f"timm/{name}", may_differ=may_differ)
    return WrappedBackbone(TimmBody(network, input_shape, output), repeat_channels=False)


class TimmBody(nn.Module):
    """timm's network as a feature map where it has one in [B, C, H, W] form, else as its pooled vector."""

    def __init__(self, network: Any, input_shape: Shape, output: Output) -> None:
        super().__init__()
        self.network = network
        network.eval()
        with torch.no_grad():
            features = network.forward_features(torch.zeros(1, *input_shape))
        network.train()
        is_map = isinstance(features, Tensor) and features.ndim == 4 and features.shape[1] == network.num_features
        self.pooled = output == "vector" or not is_map

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W'] or [B, C']."""
        return cast(Tensor, self.network(images) if self.pooled else self.network.forward_features(images))


def load_weights(network: nn.Module, file: Path, *, owner: str, may_differ: tuple[str, ...] = ()) -> None:
    """Fill `network` from a .safetensors, .pth or .pt file of its state dict.

    Args:
        owner: names the network in messages.
        may_differ: modules (by name) whose weights may be missing, extra or of another shape: the classifier of another data set.

    Raises: ConfigError if the file cannot be read or does not fit, naming the tensors.
    """
    try:
        weights = read_tensors(file)
    except ConfigError as error:
        raise ConfigError(f"{owner}: {error}") from error
    own = network.state_dict()
    free = {key for key in own.keys() | weights.keys() if any(key.startswith(f"{name}.") for name in may_differ)}
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    problems = [f"'{key}' is missing" for key in own.keys() - weights.keys() - free]
    problems += [f"'{key}' is unknown{_suggest(key, own)}" for key in weights.keys() - own.keys() - free]
    misshapen = (weights.keys() & own.keys()) - fitting.keys() - free
    problems += [f"'{key}' is {list(weights[key].shape)}, expected {list(own[key].shape)}" for key in misshapen]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ConfigError(f"{owner}: pretrained: {file} does not fit: {', '.join(sorted(problems)[:3])}{more}")
    network.load_state_dict(fitting, strict=False)


def _suggest(key: str, own: dict[str, Tensor]) -> str:
    close = difflib.get_close_matches(key, list(own), n=1, cutoff=0.8)
    return f" (nearest: '{close[0]}')" if close else ""


def _cut_side_outputs(network: Any) -> None:
    """Leave out what only training looks at, as torchvision does for its own pretrained networks."""
    if getattr(network, "aux_logits", False):
        network.aux_logits = False
        for side in SIDE_OUTPUTS & dict(network.named_children()).keys():
            setattr(network, side, None)


def _torchvision_map(name: str, network: nn.Module) -> nn.Module:
    children = dict(network.named_children())
    if {"features", "norm", "permute"} <= children.keys():  # the Swin family, whose features are [B, H, W, C] until permuted
        return nn.Sequential(OrderedDict((n, children[n]) for n in ("features", "norm", "permute")))
    if "features" in children:
        return children["features"]
    if {"avgpool", "layer4"} <= children.keys():  # the ResNet family
        names = list(children)
        return nn.Sequential(OrderedDict((n, children[n]) for n in names[: names.index("avgpool")]))
    raise ConfigError(f"torchvision/{name} has no feature map; use output: vector")


def _last_linear(network: nn.Module) -> str | None:
    names: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return names[-1] if names else None


def _without_last_linear(name: str, network: nn.Module) -> nn.Module:
    last = _last_linear(network)
    if last is None:
        raise ConfigError(f"torchvision/{name} has no linear layer; use output: map")
    parent, _, child = last.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network


def cannot_fetch(name: str, error: Exception) -> ResourceError:
    """The error to raise where a library could not fetch a network's weights."""
    reason = str(error).splitlines()[0] if str(error) else "no reason given"
    return ResourceError(
        f"pretrained weights of {name} could not be fetched ({type(error).__name__}: {reason}); "
        "on a machine without network, save them as .safetensors or .pth elsewhere and write pretrained: path/to/file.safetensors"
    )

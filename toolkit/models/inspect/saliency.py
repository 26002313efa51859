"""Which pixels an answer rests on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolkit.errors import ConfigError
from toolkit.models.inspect.hooks import outputs_of


def answer_score(output: object) -> Tensor:
    """[B] what is explained: the largest logit of [B, N] outputs, of maps and several outputs the sum of their absolute values."""
    if isinstance(output, Tensor):
        return output.amax(dim=1) if output.ndim == 2 else output.abs().flatten(1).sum(dim=1)
    tensors = [value for value in vars(output).values() if isinstance(value, Tensor) and value.is_floating_point()]
    return torch.stack([tensor.abs().flatten(1).sum(dim=1) for tensor in tensors]).sum(dim=0)


def saliency(model: nn.Module, images: Tensor) -> Tensor:
    """[B, H, W] in [0, 1] per picture: where a small change of a pixel of [B, C, H, W] changes the answer most.

    The absolute gradient of `answer_score` by the pixels, its largest channel (Simonyan, Vedaldi, Zisserman, "Deep Inside
    Convolutional Networks", ICLR workshop 2014).

    Raises: ConfigError where the answer has no gradient.
    """
    pictures, score = _scored(model, images)
    (by_pixel,) = torch.autograd.grad(score, (pictures,))
    return _to_unit(by_pixel.abs().amax(dim=1))


def saliency_and_grad_cam(model: nn.Module, images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """`saliency`, and where the map of `layer` speaks for the answer.

    Grad-CAM: the layer's channels weighted by the mean of their gradients, their positive sum enlarged to the picture
    (Selvaraju et al., ICCV 2017).

    Args:
        images: [B, C, H, W].
        layer: of a map [B, C', H', W'].

    Returns: [B, H, W] each, in [0, 1] per picture; all 0 where nothing changes the answer.
    Raises: ConfigError if the layer gives no map or the answer does not depend on it.
    """
    with outputs_of([(layer, model.get_submodule(layer))]) as outputs:
        pictures, score = _scored(model, images)
    features = outputs.get(layer)
    if features is None or features.ndim != 4:
        found = "no tensor" if features is None else list(features.shape)
        raise ConfigError(f"layer {layer} gives {found}; Grad-CAM needs a map [pictures, channels, height, width]")
    by_pixel, by_feature = torch.autograd.grad(score, (pictures, features), allow_unused=True)
    if by_pixel is None or by_feature is None:
        raise ConfigError(f"layer {layer}: the model's answer does not depend on it; choose another with --layer")
    weights = by_feature.mean(dim=(2, 3), keepdim=True)  # [B, C', 1, 1]
    cam = (weights * features).sum(dim=1, keepdim=True).relu().detach()
    cam = F.interpolate(cam, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return _to_unit(by_pixel.abs().amax(dim=1)), _to_unit(cam)


def _scored(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures as a leaf, and the sum of their `answer_score`. Raises: ConfigError where it has no gradient."""
    pictures = images.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        score = answer_score(model(pictures)).sum()
    if not score.requires_grad:
        raise ConfigError("the model's answer has no gradient, so there is nothing to explain it by")
    return pictures, score


def feature_maps(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """[B, C', H', W'] what `layer` gives for the pictures. Raises: ConfigError if that is no map."""
    with torch.no_grad(), outputs_of([(layer, model.get_submodule(layer))]) as outputs:
        model(images)
    features = outputs.get(layer)
    if features is None or features.ndim != 4:
        found = "no tensor" if features is None else list(features.shape)
        raise ConfigError(f"layer {layer} gives {found}; expected a map [pictures, channels, height, width]")
    return features


def _to_unit(maps: Tensor) -> Tensor:
    """[B, H, W], the largest value of each 1."""
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)

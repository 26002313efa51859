"""Whole networks. Each maps pictures [B, C, H, W] to logits [B, N]."""

from __future__ import annotations

from toolkit_classification.models.alexnet import AlexNet, AlexNetCifar
from toolkit_classification.models.cnn import Cnn
from toolkit_classification.models.mlp import Mlp
from toolkit_classification.models.vgg import vgg8, vgg16, vgg16_bn

__all__ = ["AlexNet", "AlexNetCifar", "Cnn", "Mlp", "vgg8", "vgg16", "vgg16_bn"]

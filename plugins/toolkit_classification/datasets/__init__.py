"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 from local files, read as torchvision reads them."""

from __future__ import annotations

from toolkit_classification.datasets.cifar import CIFAR10_CLASSES, CIFAR100_CLASSES, cifar10, cifar100
from toolkit_classification.datasets.idx import CLOTHES, DIGITS, fashion_mnist, mnist
from toolkit_classification.datasets.in_memory import PicturesInMemory

__all__ = ["CIFAR10_CLASSES", "CIFAR100_CLASSES", "CLOTHES", "DIGITS", "PicturesInMemory", "cifar10", "cifar100", "fashion_mnist", "mnist"]

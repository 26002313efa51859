"""Image classification: the table of contents."""

from __future__ import annotations

from toolkit.extension import Registrar, hookimpl
from toolkit_classification import datasets, metrics, models, plots
from toolkit_classification.image_folder import ImageFolder
from toolkit_classification.mixing import Cutmix, Mixup
from toolkit_classification.synthetic import SyntheticShapes
from toolkit_classification.task import ClassificationTask
from toolkit_classification.transforms import PermutePixels

TOOLKIT_API = 1


@hookimpl
def toolkit_register(registry: Registrar) -> None:
    """Register image classification."""
    registry.task("classification", ClassificationTask)

    registry.dataset("mnist", datasets.mnist, synthetic="synthetic_shapes")
    registry.dataset("fashion_mnist", datasets.fashion_mnist, synthetic="synthetic_shapes")
    registry.dataset("cifar10", datasets.cifar10, synthetic="synthetic_shapes")
    registry.dataset("cifar100", datasets.cifar100, synthetic="synthetic_shapes")
    registry.dataset("image_folder", ImageFolder, synthetic="synthetic_shapes")
    registry.dataset("synthetic_shapes", SyntheticShapes)

    registry.model("mlp", models.Mlp)
    registry.model("cnn", models.Cnn)
    registry.model("alexnet", models.AlexNet)
    registry.model("alexnet_cifar", models.AlexNetCifar)
    registry.model("vgg8", models.vgg8)
    registry.model("vgg16", models.vgg16)
    registry.model("vgg16_bn", models.vgg16_bn)

    registry.transform("permute_pixels", PermutePixels)
    registry.batch_transform("mixup", Mixup)
    registry.batch_transform("cutmix", Cutmix)

    registry.metric("accuracy", metrics.Accuracy)
    registry.metric("accuracy_top5", metrics.AccuracyTop5)
    registry.metric("f1_macro", metrics.F1Macro)

    registry.plot("confusion_matrix", plots.ConfusionMatrix)
    registry.plot("prediction_grid", plots.PredictionGrid)
    registry.plot("per_class_accuracy", plots.PerClassAccuracy)

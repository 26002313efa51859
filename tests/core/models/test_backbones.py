"""torchvision's and timm's networks as backbones: shapes, pretrained weights, and what is said where something does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError

import huggingface_hub.errors
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from toolkit.errors import ConfigError, ResourceError
from toolkit.models.backbones import (
    build_timm,
    build_torchvision,
    load_weights,
    timm_backbone,
    timm_names,
    torchvision_backbone,
    torchvision_names,
)
from toolkit.models.model import output_shape

SMALL = "mobilenet_v3_small"
Shape = tuple[int, int, int]


@pytest.mark.parametrize(
    ("name", "side", "as_map", "as_vector"),
    [
        ("resnet18", 64, (512, 2, 2), (512, 1, 1)),
        ("vgg11_bn", 64, (512, 2, 2), (4096, 1, 1)),
        ("alexnet", 96, (256, 2, 2), (4096, 1, 1)),
        ("mobilenet_v3_small", 64, (576, 2, 2), (1024, 1, 1)),
        ("swin_t", 64, (768, 2, 2), (768, 1, 1)),
        ("swin_v2_t", 64, (768, 2, 2), (768, 1, 1)),
        ("convnext_tiny", 64, (768, 2, 2), (768, 1, 1)),
        ("squeezenet1_1", 64, (512, 3, 3), None),
        ("shufflenet_v2_x0_5", 64, None, (1024, 1, 1)),
        ("vit_b_16", 224, None, (768, 1, 1)),
        ("inception_v3", 96, None, (2048, 1, 1)),
        ("googlenet", 64, None, (1024, 1, 1)),
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization of:FutureWarning")
def test_torchvisions_shapes(name: str, side: int, as_map: Shape | None, as_vector: Shape | None) -> None:
    outputs: tuple[tuple[Literal["map", "vector"], Shape | None], ...] = (("map", as_map), ("vector", as_vector))
    for output, expected in outputs:
        with torch.device("meta"):  # shapes without arithmetic
            if expected is None:
                kind = {"map": "feature map; use output: vector", "vector": "linear layer; use output: map"}[output]
                with pytest.raises(ConfigError) as caught:
                    build_torchvision(name, (3, side, side), output=output)
                assert str(caught.value) == f"torchvision/{name} has no {kind}"
            else:
                backbone = build_torchvision(name, (3, side, side), output=output)
                assert output_shape(backbone, (3, side, side)) == expected
                assert backbone.train()(torch.zeros(2, 3, side, side)).shape == (2, *expected)


@pytest.mark.parametrize(
    ("name", "as_map", "as_vector"),
    [
        ("resnet18", (512, 2, 2), (512, 1, 1)),
        ("test_resnet", (96, 2, 2), (96, 1, 1)),
        ("mobilenetv3_small_050", (288, 2, 2), (1024, 1, 1)),
        ("test_vit", (64, 1, 1), (64, 1, 1)),  # tokens are no map, so that their pooled vector is given
        ("vit_tiny_patch16_224", (192, 1, 1), (192, 1, 1)),
        ("swin_tiny_patch4_window7_224", (768, 1, 1), (768, 1, 1)),
        pytest.param("coat_mini", (216, 1, 1), (216, 1, 1), marks=pytest.mark.slow),  # gives several maps, of which none is the last
    ],
)
def test_timms_shapes(name: str, as_map: Shape, as_vector: Shape) -> None:
    outputs: tuple[tuple[Literal["map", "vector"], Shape], ...] = (("map", as_map), ("vector", as_vector))
    for output, expected in outputs:
        with torch.device("meta"):
            backbone = build_timm(name, (3, 64, 64), output=output)
            assert output_shape(backbone, (3, 64, 64)) == expected
            assert backbone.train()(torch.zeros(2, 3, 64, 64)).shape == (2, *expected)


@pytest.mark.slow
def test_a_map_is_what_the_network_pools() -> None:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    backbone = build_torchvision("resnet18", (3, 64, 64)).eval()
    vector = build_torchvision("resnet18", (3, 64, 64), output="vector").eval()
    for made in (backbone, vector):
        made.load_state_dict({f"body.{name}": value for name, value in network.state_dict().items() if not name.startswith("fc.")})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.fc(backbone(images).mean(dim=(2, 3))), network(images))
        torch.testing.assert_close(network.fc(vector(images).flatten(1)), network(images))


@pytest.mark.slow
def test_swins_map_has_its_channels_first() -> None:
    network = build_torchvision("swin_t", (3, 64, 64)).eval()
    vector = build_torchvision("swin_t", (3, 64, 64), output="vector").eval()
    vector.load_state_dict(network.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(images).mean(dim=(2, 3)), vector(images).flatten(1))


@pytest.mark.slow
def test_torchvision_is_shown_one_channel_as_three() -> None:
    backbone = build_torchvision(SMALL, (1, 32, 32)).eval()
    grey = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbone(grey), backbone.body(grey.repeat(1, 3, 1, 1)))  # type: ignore[operator]
    assert output_shape(backbone, (1, 32, 32)) == (576, 1, 1)


def test_timm_is_built_for_one_channel() -> None:
    backbone = build_timm("test_resnet", (1, 32, 32)).eval()
    assert next(backbone.parameters()).shape[1] == 1
    assert backbone(torch.zeros(2, 1, 32, 32)).shape == (2, 96, 1, 1)


def test_a_transformer_is_built_for_the_pictures_size() -> None:
    backbone = build_timm("vit_tiny_patch16_224", (3, 32, 48)).eval()
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 32, 48)).shape == (1, 192, 1, 1)


def test_building_leaves_statistics_fresh_and_the_network_in_train_mode() -> None:
    backbone = build_timm("test_resnet", (3, 32, 32))
    assert all(module.training for module in backbone.modules())
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert norm.num_batches_tracked is not None
        assert int(norm.num_batches_tracked) == 0


def test_names_are_the_libraries_own() -> None:
    assert "alexnet" in torchvision_names()
    assert "fasterrcnn_resnet50_fpn" not in torchvision_names()
    assert "resnet18" in timm_names()
    assert torchvision_backbone("vgg16_bm") is None
    assert torchvision_backbone("vgg16_bn") is not None
    assert timm_backbone("resnet18.a1_in1k") is not None
    assert timm_backbone("resnet_18") is None


# Pretrained weights from a file.


def other_network(library: str, num_classes: int = 7) -> nn.Module:
    torch.manual_seed(123)
    if library == "timm":
        made: nn.Module = timm.create_model("test_resnet", num_classes=num_classes)
    else:
        made = torchvision.models.get_model(SMALL, weights=None, num_classes=num_classes)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.uniform_(module.running_mean)
    return made


@pytest.mark.parametrize("output", ["map", "vector"])
@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.slow
def test_weights_arrive_whatever_the_classifier(tmp_path: Path, library: str, output: Literal["map", "vector"]) -> None:
    network: Any = other_network(library).eval()
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(network.state_dict(), file)
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        if library == "timm":
            backbone = build_timm("test_resnet", (3, 32, 32), pretrained=str(file), output=output)
            features = network.forward_features(images)
            vector = network.forward_head(features, pre_logits=True)
        else:
            backbone = build_torchvision(SMALL, (3, 32, 32), pretrained=str(file), output=output)
            features = network.features(images)
            vector = network.classifier[:-1](network.avgpool(features).flatten(1))
        assert torch.equal(backbone.eval()(images), features if output == "map" else vector[:, :, None, None])


@pytest.mark.filterwarnings("ignore:The default weight initialization of:FutureWarning")
@pytest.mark.slow
def test_a_file_may_lack_the_classifiers_that_only_training_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):  # its own initialisation takes seconds
        network = torchvision.models.inception_v3(weights=None).to_empty(device="cpu")
    weights = {name: torch.zeros_like(value) for name, value in network.state_dict().items() if not name.startswith("AuxLogits.")}
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    monkeypatch.setattr(torchvision.models, "get_model", lambda *args, **options: network)
    backbone = build_torchvision("inception_v3", (3, 96, 96), pretrained=str(tmp_path / "weights.safetensors"), output="vector")
    assert not any("AuxLogits" in name for name, _ in backbone.named_modules())
    assert not any(parameter.any() for parameter in backbone.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])  # vgg16-397923af.pth is older than zipped files
@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_a_pth_file_laid_out_as_torchvisions_fills_all_but_the_classifiers_last_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    """A stand-in of the published file, with its 1000 classes; every tensor is one number of its own, so that the file is small."""
    with torch.device("meta"):  # its own initialisation takes seconds
        network = torchvision.models.get_model(name, weights=None)
    numbers = {key: float(place) for place, key in enumerate(network.state_dict(), start=1)}
    stored = {key: torch.tensor(numbers[key]).expand(value.shape) for key, value in network.state_dict().items()}
    assert stored["classifier.6.weight"].shape == (1000, 4096)
    torch.save(stored, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(torchvision.models, "get_model", lambda *args, **options: network.to_empty(device="cpu"))
    backbone = build_torchvision(name, (3, 64, 64), pretrained=str(tmp_path / "w.pth"), output="vector")
    filled = {key.removeprefix("body."): set(value[0].unique().tolist()) for key, value in backbone.state_dict().items()}
    assert filled == {key: {number} for key, number in numbers.items() if not key.startswith("classifier.6.")}


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [1000, 3])
def test_alexnet_from_a_pth_file_answers_as_the_network_that_was_saved(tmp_path: Path, num_classes: int) -> None:
    torch.manual_seed(0)
    network = torchvision.models.alexnet(weights=None, num_classes=num_classes).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    backbone = build_torchvision("alexnet", (3, 64, 64), pretrained=str(tmp_path / "w.pth"), output="vector").eval()
    (tmp_path / "w.pth").unlink()  # 230 MB
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.classifier[6](backbone(images).flatten(1)), network(images), rtol=0, atol=0)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)


def own_weights() -> dict[str, Tensor]:
    return {name: value.clone() for name, value in Tiny().state_dict().items()}


def loaded(tmp_path: Path, weights: dict[str, Tensor]) -> nn.Module:
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
    network = Tiny()
    load_weights(network, tmp_path / "w.safetensors", owner="timm/tiny", may_differ=("fc",))
    return network


def test_a_classifier_that_does_not_fit_stays_as_it_was_made(tmp_path: Path) -> None:
    weights = own_weights() | {"fc.weight": torch.ones(9, 4), "fc.extra": torch.ones(1)}
    del weights["fc.bias"]
    network = loaded(tmp_path, weights)
    assert torch.equal(network.get_parameter("conv.weight"), weights["conv.weight"])
    assert network.get_parameter("fc.weight").shape == (2, 4)


def test_a_classifier_that_fits_is_taken(tmp_path: Path) -> None:
    weights = own_weights()
    assert torch.equal(loaded(tmp_path, weights).get_parameter("fc.weight"), weights["fc.weight"])


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"conv.weight": None}, "'conv.weight' is missing"),
        ({"norm.gain": torch.ones(4)}, "'norm.gain' is unknown"),
        ({"norm.weights": torch.ones(4)}, "'norm.weights' is unknown (nearest: 'norm.weight')"),
        ({"conv.weight": torch.ones(4, 1, 3, 3)}, "'conv.weight' is [4, 1, 3, 3], expected [4, 3, 3, 3]"),
        (
            {"conv.bias": None, "norm.weight": torch.ones(5), "zoo": torch.ones(1)},
            "'conv.bias' is missing, 'norm.weight' is [5], expected [4], 'zoo' is unknown",
        ),
        (
            {"conv.bias": None, "conv.weight": None, "norm.weight": None, "norm.bias": None, "zoo": torch.ones(1)},
            "'conv.bias' is missing, 'conv.weight' is missing, 'norm.bias' is missing and 2 more",
        ),
        ({"fcs.weight": torch.ones(1)}, "'fcs.weight' is unknown (nearest: 'fc.weight')"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, Tensor | None], problems: str) -> None:
    weights: dict[str, Any] = {name: value for name, value in (own_weights() | changes).items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, weights)
    assert str(caught.value) == f"timm/tiny: pretrained: {tmp_path / 'w.safetensors'} does not fit: {problems}"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.keras"
    file.touch()
    with pytest.raises(ConfigError) as caught:
        load_weights(Tiny(), file, owner="timm/tiny")
    assert str(caught.value) == f"timm/tiny: pretrained: {file} ends with '.keras'; expected .safetensors, .pth or .pt"


@pytest.mark.parametrize(
    ("name", "content"), [("w.safetensors", b""), ("w.safetensors", b"not a safetensors file"), ("w.pth", b""), ("w.pt", b"no pth file")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    way_out = "" if name == "w.safetensors" else r"; save it as torch\.save\(model\.state_dict\(\), \.\.\.\)"
    with pytest.raises(ConfigError, match=rf"^timm/test_resnet: pretrained: cannot read {re.escape(str(file))}: \S.*{way_out}$"):
        build_timm("test_resnet", (3, 32, 32), pretrained=str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "alexnet.pth"
    with pytest.raises(ConfigError, match=rf"^timm/tiny: pretrained: no such file: {re.escape(str(file))}$"):
        load_weights(Tiny(), file, owner="timm/tiny")


def test_a_pth_file_of_another_network_or_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save(own_weights() | {"conv.weight": torch.ones(4, 1, 3, 3)}, file)
    with pytest.raises(
        ConfigError, match=r"^timm/tiny: pretrained: .*w\.pth does not fit: 'conv\.weight' is \[4, 1, 3, 3\], expected \[4, 3, 3, 3\]$"
    ):
        load_weights(Tiny(), file, owner="timm/tiny")
    torch.save({"epoch": 3}, file)
    with pytest.raises(ConfigError, match=r"^timm/tiny: pretrained: .*w\.pth holds no state dict; expected names with a tensor each"):
        load_weights(Tiny(), file, owner="timm/tiny")


# Pretrained weights from the network, without one.

WAY_OUT = "; on a machine without network, save them as .safetensors or .pth elsewhere and write pretrained: path/to/file.safetensors"


def test_torchvisions_weights_that_cannot_be_fetched_are_a_matter_of_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **options: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ResourceError) as caught:
        build_torchvision(SMALL, (3, 32, 32), pretrained=True)
    assert str(caught.value) == (
        f"pretrained weights of torchvision/{SMALL} could not be fetched (URLError: <urlopen error no route to host>){WAY_OUT}"
    )
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("no route to host"), "URLError: <urlopen error no route to host>"),
        (huggingface_hub.errors.LocalEntryNotFoundError("not in the cache\nand more"), "LocalEntryNotFoundError: not in the cache"),
        (OSError(), "OSError: no reason given"),
    ],
)
def test_timms_weights_that_cannot_be_fetched_are_a_matter_of_resources(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def no_network(*args: Any, **options: Any) -> None:
        raise error

    for function in ("load_state_dict_from_hf", "load_state_dict_from_url"):
        monkeypatch.setattr(timm.models._builder, function, no_network)
    with pytest.raises(ResourceError) as caught:
        build_timm("test_resnet", (3, 32, 32), pretrained=True)
    assert str(caught.value) == f"pretrained weights of timm/test_resnet could not be fetched ({reason}){WAY_OUT}"

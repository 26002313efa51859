"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: layouts, damage, and the real files where they are at hand."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as torchvision_datasets

from toolkit.errors import DataError, ResourceError
from toolkit_classification.datasets import CIFAR10_CLASSES, CIFAR100_CLASSES, cifar10, cifar100, fashion_mnist, mnist

REAL = Path(os.environ.get("TOOLKIT_DATA", "nowhere"))


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (REAL / folder).is_dir(), reason=f"no {folder} below TOOLKIT_DATA")


def write_idx(file: Path, values: np.ndarray) -> None:
    """The format of the MNIST files: 0, 0, type 8 (bytes), number of axes, their lengths, the values."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.astype(np.uint8).tobytes())


def write_mnist(root: Path, name: str = "MNIST", part: str = "train", labels: tuple[int, ...] = (3, 0, 9)) -> np.ndarray:
    """A few 4x5 pictures; returns them."""
    pixels = np.arange(len(labels) * 20).reshape(-1, 4, 5)
    write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", pixels)
    write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", np.array(labels))
    return pixels


def write_cifar_bin(file: Path, records: list[tuple[int, np.ndarray]]) -> None:
    """10,000 records of a label and planes; those not given are zeros (a sparse file)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        for label, picture in records:
            stream.write(bytes([label]) + picture.transpose(2, 0, 1).tobytes())
        stream.truncate(30_730_000)


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3)).astype(np.uint8)


def message(text: str) -> str:
    return f"^{re.escape(text)}$"


@pytest.mark.parametrize(("factory", "folder"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_idx_files_are_read_where_torchvision_puts_them(factory: Any, folder: str, tmp_path: Path) -> None:
    pixels = write_mnist(tmp_path, folder)
    data = factory("train", root=str(tmp_path))
    assert len(data) == 3
    assert data.info.input_shape == (1, 4, 5)
    assert [sample.id for sample in data] == ["train/00000", "train/00001", "train/00002"]
    assert [sample.target.label.item() for sample in data] == [3, 0, 9]
    for sample, picture in zip(data, pixels, strict=True):
        np.testing.assert_array_equal(sample.image, picture[:, :, None])
    assert data[-1].id == "train/00002"
    with pytest.raises(IndexError):
        data[3]


def test_a_relative_root_is_below_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    write_mnist(tmp_path / "digits", part="t10k")
    assert len(mnist("test", root="digits")) == 3


def test_a_limit_keeps_the_first_samples(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    assert [sample.target.label.item() for sample in mnist("train", root=str(tmp_path), limit=2)] == [3, 0]


def test_missing_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    text = f"no MNIST below {tmp_path}; expected {file}; set TOOLKIT_DATA or data.root, or data.download=true"
    with pytest.raises(DataError, match=message(text)):
        mnist("train", root=str(tmp_path))
    text = (
        f"no CIFAR-10 below {tmp_path}; expected {tmp_path}/cifar-10-batches-bin/data_batch_1.bin "
        f"or {tmp_path}/cifar-10-batches-py/data_batch_1; set TOOLKIT_DATA or data.root, or data.download=true"
    )
    with pytest.raises(DataError, match=message(text)):
        cifar10("train", root=str(tmp_path))


def test_a_file_that_is_still_packed_is_named_with_the_command(tmp_path: Path) -> None:
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.parent.mkdir(parents=True)
    file.with_name(file.name + ".gz").touch()
    with pytest.raises(DataError, match=message(f"{file}.gz is packed, expected {file} beside it; run: gunzip -k {file}.gz")):
        mnist("train", root=str(tmp_path))


def test_a_truncated_idx_file_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match=message(f"{file} is damaged: found 50 bytes; expected 76 for 3 x 4 x 5 values; fetch it again")):
        mnist("train", root=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "start"), [(b"<html>", "3c 68 74 6d"), (b"", "nothing"), (bytes([0, 0, 8, 1, 0, 0, 0, 3]), "00 00 08 01")]
)
def test_something_else_than_an_idx_file_is_refused(content: bytes, start: str, tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(content)
    text = f"{file} is no idx file with 3 axes: it starts with {start}, expected 00 00 08 03; fetch it again"
    with pytest.raises(DataError, match=message(text)):
        mnist("train", root=str(tmp_path))


def test_numbers_of_pictures_and_labels_must_agree(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw / "train-labels-idx1-ubyte", np.array([1, 2]))
    text = f"{raw}/train-images-idx3-ubyte has 3 pictures, but {raw}/train-labels-idx1-ubyte has 2 labels; fetch both again"
    with pytest.raises(DataError, match=message(text)):
        mnist("train", root=str(tmp_path))


def test_a_label_without_a_class_is_refused_by_the_name_of_its_sample(tmp_path: Path) -> None:
    write_mnist(tmp_path, labels=(3, 10, 9))
    file = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    text = f"{file}: sample train/00001 has label 10; expected 0 to 9; delete the file and fetch it again"
    with pytest.raises(DataError, match=message(text)):
        mnist("train", root=str(tmp_path))


def test_a_part_that_is_not_published_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^MNIST has no split 'validation'; it has train, test$"):
        mnist("validation", root=str(tmp_path))


def test_the_binary_cifar10_release_is_read_plane_by_plane(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    for number in range(1, 6):
        write_cifar_bin(folder / f"data_batch_{number}.bin", [(number, photo(number)), (0, photo(0))])
    data = cifar10("train", root=str(tmp_path))
    assert len(data) == 50_000
    assert data.info.input_shape == (3, 32, 32)
    for number in range(1, 6):
        sample = data[(number - 1) * 10_000]
        np.testing.assert_array_equal(sample.image, photo(number))
        assert data.info.classes[sample.target.label] == ("automobile", "bird", "cat", "deer", "dog")[number - 1]


def test_the_binary_cifar100_release_is_read_with_its_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    with (folder / "test.bin").open("wb") as stream:  # a record is the coarse label, the fine one, and the planes
        for coarse, fine in ((19, 7), (3, 99)):
            stream.write(bytes([coarse, fine]) + photo(fine).transpose(2, 0, 1).tobytes())
        stream.truncate(30_740_000)
    data = cifar100("test", root=str(tmp_path))
    assert len(data) == 10_000
    assert data.labels[:3].tolist() == [7, 99, 0]
    np.testing.assert_array_equal(data[1].image, photo(99))
    assert [data.info.classes[label] for label in data.labels[:2]] == ["beetle", "worm"]


def test_cifar100s_classes_are_a_hundred_in_alphabetical_order() -> None:
    assert len(set(CIFAR100_CLASSES)) == 100
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)


def test_half_a_cifar100_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cifar-100-binary" / "train.bin"
    file.parent.mkdir()
    file.write_bytes(bytes(3074))
    text = f"{file} is damaged: found 3,074 bytes; expected 153,700,000 bytes; fetch it again"
    with pytest.raises(DataError, match=message(text)):
        cifar100("train", root=str(tmp_path))


def test_missing_cifar100_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    text = (
        f"no CIFAR-100 below {tmp_path}; expected {tmp_path}/cifar-100-binary/train.bin "
        f"or {tmp_path}/cifar-100-python/train; set TOOLKIT_DATA or data.root, or data.download=true"
    )
    with pytest.raises(DataError, match=message(text)):
        cifar100("test", root=str(tmp_path))


def test_torchvisions_cifar100_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, reader, sums = tmp_path / "cifar-100-python", torchvision_datasets.CIFAR100, {}
    folder.mkdir()
    contents: dict[str, Any] = {"meta": {"fine_label_names": list(CIFAR100_CLASSES)}}
    for part, fine in (("train", [7, 99]), ("test", [0])):
        planes = np.stack([photo(label).transpose(2, 0, 1).reshape(-1) for label in fine])
        contents[part] = {"data": planes, "fine_labels": fine, "coarse_labels": [0] * len(fine)}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(reader, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(reader, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": sums["meta"]})
    data = cifar100("train", root=str(tmp_path))
    assert data.labels.tolist() == [7, 99]
    np.testing.assert_array_equal(data[1].image, photo(99))
    assert cifar100("test", root=str(tmp_path)).labels.tolist() == [0]


def test_half_a_cifar10_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    write_cifar_bin(file, [])
    os.truncate(file, 15_000_000)
    text = f"{file} is damaged: found 15,000,000 bytes; expected 30,730,000 bytes; fetch it again"
    with pytest.raises(DataError, match=message(text)):
        cifar10("test", root=str(tmp_path))


def test_a_missing_cifar10_file_is_named(tmp_path: Path) -> None:
    write_cifar_bin(tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin", [])
    text = f"{tmp_path}/cifar-10-batches-bin/data_batch_2.bin is missing; expected 30,730,000 bytes; fetch it again"
    with pytest.raises(DataError, match=message(text)):
        cifar10("train", root=str(tmp_path))


def write_cifar_py(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python release with two pictures a file, and torchvision's MD5 sums set to those of these files."""

    def write(name: str, content: dict[str, Any]) -> str:
        file = root / "cifar-10-batches-py" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(pickle.dumps(content))
        return hashlib.md5(file.read_bytes()).hexdigest()

    def batch(seed: int) -> dict[str, Any]:
        return {"data": np.stack([photo(seed + n).transpose(2, 0, 1).reshape(-1) for n in range(2)]), "labels": [seed % 10, 9]}

    reader = torchvision_datasets.CIFAR10
    monkeypatch.setattr(reader, "train_list", [[f"data_batch_{n}", write(f"data_batch_{n}", batch(n))] for n in range(1, 6)])
    monkeypatch.setattr(reader, "test_list", [["test_batch", write("test_batch", batch(6))]])
    meta = write("batches.meta", {"label_names": list(CIFAR10_CLASSES)})
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": meta})


def test_torchvisions_cifar10_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar_py(tmp_path, monkeypatch)
    data = cifar10("train", root=str(tmp_path))
    assert [sample.target.label.item() for sample in data] == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    np.testing.assert_array_equal(data[8].image, photo(5))
    assert len(cifar10("test", root=str(tmp_path))) == 2


def test_a_pickle_with_another_md5_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar_py(tmp_path, monkeypatch)
    file, marker = tmp_path / "cifar-10-batches-py" / "data_batch_3", tmp_path / "opened"
    published = hashlib.md5(file.read_bytes()).hexdigest()
    file.write_bytes(b"cos\nmkdir\n(V" + str(marker).encode() + b"\ntR.")  # makes a folder when unpickled
    found = hashlib.md5(file.read_bytes()).hexdigest()
    text = f"{file} is damaged: found MD5 {found}; expected {published}; fetch it again"
    with pytest.raises(DataError, match=message(text)):
        cifar10("train", root=str(tmp_path))
    assert not marker.exists()


def test_a_missing_pickle_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar_py(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_5").unlink()
    with pytest.raises(
        DataError, match=message(f"{tmp_path}/cifar-10-batches-py/data_batch_5 is missing; fetch it again, or set data.download=true")
    ):
        cifar10("test", root=str(tmp_path))


@pytest.mark.parametrize(("factory", "name"), [(mnist, "MNIST"), (cifar10, "CIFAR10"), (cifar100, "CIFAR100")])
def test_a_failing_download_is_told_in_one_line(factory: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(self: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(getattr(torchvision_datasets, name), "download", no_network)
    text = f"could not download {name} to {tmp_path}: no route to host; check the network, or copy the files there yourself"
    with pytest.raises(ResourceError, match=message(text)):
        factory("train", root=str(tmp_path), download=True)


def test_a_download_uses_torchvision_and_keeps_standard_output_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(self: Any) -> None:
        print("Downloading ...")
        write_mnist(Path(self.raw_folder).parent.parent)

    monkeypatch.setattr(torchvision_datasets.MNIST, "download", download)
    assert len(mnist("train", root=str(tmp_path), download=True)) == 3
    assert capsys.readouterr().out == ""


def test_nothing_is_downloaded_where_the_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: Any) -> None:
        raise AssertionError("downloaded")

    monkeypatch.setattr(torchvision_datasets.MNIST, "download", download)
    write_mnist(tmp_path)
    assert len(mnist("train", root=str(tmp_path), download=True)) == 3


@needs("MNIST")
def test_real_mnist_has_its_published_numbers() -> None:
    train, test = mnist("train"), mnist("test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(test.labels.numpy()).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.pixels.mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # the mean that every MNIST example quotes


@needs("FashionMNIST")
def test_real_fashion_mnist_has_its_published_numbers() -> None:
    train, test = fashion_mnist("train"), fashion_mnist("test")
    assert np.bincount(train.labels.numpy()).tolist() == [6000] * 10
    assert np.bincount(test.labels.numpy()).tolist() == [1000] * 10
    assert train.info.classes[train[0].target.label] == "ankle boot"
    assert train.pixels.mean() / 255 == pytest.approx(0.2860, abs=5e-5)


@needs("cifar-10-batches-bin")
def test_real_cifar10_has_its_published_numbers() -> None:
    train, test = cifar10("train"), cifar10("test")
    assert np.bincount(train.labels.numpy()).tolist() == [5000] * 10
    assert np.bincount(test.labels.numpy()).tolist() == [1000] * 10
    assert [test.info.classes[label] for label in test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    mean = train.pixels.reshape(-1, 3).mean(axis=0) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=1e-4)

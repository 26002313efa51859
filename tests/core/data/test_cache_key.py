from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.data import cache_key as module
from toolkit.data.cache_key import cache_key
from toolkit.data.sample import Dataset
from toolkit.data.signature import files_signature
from toolkit.data.transforms import TransformList, albumentations_transform


class Signed(Dataset[Any]):
    def __init__(self, signature: str | None = "one") -> None:
        self.own = signature

    def signature(self) -> str | None:
        return self.own


class Blurred:
    """A plugin's transform whose options hold an object that is told apart only by its address."""

    p, toolkit_deterministic = 1, True

    def to_dict_private(self) -> dict[str, Any]:
        return {"kernel": object()}


def resize(size: int) -> Any:
    factory = albumentations_transform("Resize")
    assert factory is not None
    return factory(height=size, width=size)


def flip() -> Any:
    factory = albumentations_transform("HorizontalFlip")
    assert factory is not None
    return factory(p=0.5)


ROWS = np.arange(4)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(b"same")
    return paths


def test_the_same_data_and_transforms_have_one_key() -> None:
    keys = {cache_key(Signed(), ROWS.copy(), TransformList([resize(8)])) for _ in range(2)}
    assert len(keys) == 1
    assert len(str(keys.pop())) == 32


def test_what_is_done_anew_for_each_batch_does_not_change_the_key() -> None:
    assert cache_key(Signed(), ROWS, TransformList([resize(8)])) == cache_key(Signed(), ROWS, TransformList([resize(8), flip()]))


@pytest.mark.parametrize(
    ("dataset", "rows", "transforms"),
    [
        (Signed("two"), ROWS, [resize(8)]),
        (Signed(), ROWS[:3], [resize(8)]),
        (Signed(), ROWS[::-1], [resize(8)]),
        (Signed(), ROWS, [resize(9)]),
        (Signed(), ROWS, []),
    ],
)
def test_other_data_rows_or_transforms_have_another_key(dataset: Any, rows: Any, transforms: list[Any]) -> None:
    assert cache_key(dataset, rows, TransformList(transforms)) != cache_key(Signed(), ROWS, TransformList([resize(8)]))


def test_another_version_of_a_library_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_key(Signed(), ROWS, TransformList([]))
    monkeypatch.setattr("cv2.__version__", "0.0.1")
    assert cache_key(Signed(), ROWS, TransformList([])) != before


def test_another_version_of_the_cache_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_key(Signed(), ROWS, TransformList([]))
    monkeypatch.setattr(module, "CACHE_VERSION", -1)
    assert cache_key(Signed(), ROWS, TransformList([])) != before


def test_an_edited_data_set_class_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "own_data.py"
    text = "from toolkit.data.sample import Dataset\nclass Own(Dataset):\n    def signature(self):\n        return 'one'\n"
    source.write_text(text)
    spec = importlib.util.spec_from_file_location("own_data", source)
    assert spec is not None
    assert spec.loader is not None
    own = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_data", own)
    spec.loader.exec_module(own)
    before = cache_key(own.Own(), ROWS, TransformList([]))
    source.write_text(text + "# reads its pictures in another way\n")
    assert cache_key(own.Own(), ROWS, TransformList([])) != before


def test_without_a_signature_there_is_no_key() -> None:
    assert cache_key(Signed(None), ROWS, TransformList([])) is None
    assert cache_key([], ROWS, TransformList([])) is None  # any sequence of samples will do as a data set


def test_a_transform_that_cannot_be_told_from_another_has_no_key() -> None:
    assert cache_key(Signed(), ROWS, TransformList([Blurred()])) is None


def test_a_signature_stays_while_nothing_changes(files: list[Path]) -> None:
    assert files_signature(files, 3, ["a"]) == files_signature([str(file) for file in files], 3, ["a"])


def test_a_signature_tells_order_options_and_missing_files(files: list[Path]) -> None:
    found = {
        files_signature(files),
        files_signature(files[::-1]),
        files_signature(files[:1]),
        files_signature(files, 1),
        files_signature(files, "1"),
        files_signature([files[0], files[1].with_name("c.png")]),
    }
    assert len(found) == 6


def test_a_file_written_anew_changes_the_signature_even_with_its_size_and_date_kept(files: list[Path]) -> None:
    before, dates = files_signature(files), files[0].stat()
    other = files[0].with_name("other")
    other.write_bytes(b"SAME")
    os.utime(other, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    other.replace(files[0])
    assert files_signature(files) != before


def test_a_signature_takes_only_plain_options(files: list[Path]) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        files_signature(files, object())

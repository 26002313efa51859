from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.config.run_config import ValidationConfig
from toolkit.data.locate import data_path, require_folder
from toolkit.data.split import validation_indices
from toolkit.errors import DataError, PluginError


@pytest.mark.parametrize(("count", "share", "expected"), [(100, 0.1, 10), (7, 0.5, 4), (2, 0.1, 1), (2, 0.9, 1), (5, 0.99, 4)])
def test_a_share_is_rounded_and_leaves_one_in_each_part(count: int, share: float, expected: int) -> None:
    train, validation = validation_indices(count, ValidationConfig(share=share))
    assert len(validation) == expected
    assert sorted([*train, *validation]) == list(range(count))
    assert list(train) == sorted(train)
    assert list(validation) == sorted(validation)


def test_folds_are_disjoint_and_together_everything() -> None:
    parts = [validation_indices(23, ValidationConfig(fold=fold, folds=5, seed=3))[1] for fold in range(5)]
    assert sorted(np.concatenate(parts)) == list(range(23))
    assert sorted(len(part) for part in parts) == [4, 4, 5, 5, 5]


def test_the_seed_decides_who_validates() -> None:
    first, again, other = (validation_indices(100, ValidationConfig(seed=seed))[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_split_once_published_stays() -> None:
    assert validation_indices(10, ValidationConfig(share=0.3, seed=0))[1].tolist() == sorted(np.random.default_rng(0).permutation(10)[:3])


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match=r"has 1 samples, too few to cut validation from it; expected at least 2"):
        validation_indices(1, ValidationConfig())
    with pytest.raises(DataError, match=r"has 4 samples.*at least 5"):
        validation_indices(4, ValidationConfig(fold=0, folds=5))


def test_relative_roots_lie_below_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    assert data_path("lsp") == tmp_path / "lsp"
    assert data_path(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("TOOLKIT_DATA")
    assert data_path("lsp") == Path("data/lsp")


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lsp: no such folder; expected images/ and joints.mat; set TOOLKIT_DATA or data.root"):
        require_folder(tmp_path / "lsp", "images/ and joints.mat")
    assert require_folder(tmp_path, "anything") == tmp_path


def test_a_cut_never_divides_a_group_and_counts_groups() -> None:
    groups = ["b", "a", "b", "c", "d", "a", "b", "e"]
    drawn = np.random.default_rng(0).permutation(5)[:2]  # of b, a, c, d, e, as they appear
    train, validation = validation_indices(8, ValidationConfig(share=0.4, seed=0), groups)
    assert validation.tolist() == [index for index, group in enumerate(groups) if "bacde".index(group) in drawn]
    assert sorted([*train, *validation]) == list(range(8))
    folds = [validation_indices(8, ValidationConfig(fold=fold, folds=5, seed=3), groups)[1] for fold in range(5)]
    assert sorted(len({groups[index] for index in fold}) for fold in folds) == [1] * 5
    assert sorted(np.concatenate(folds)) == list(range(8))


def test_groups_of_one_sample_each_are_cut_as_no_groups_are() -> None:
    alone = [
        validation_indices(30, ValidationConfig(share=0.4, seed=1), groups)[1].tolist() for groups in (None, [str(n) for n in range(30)])
    ]
    assert alone[0] == alone[1]


def test_groups_that_cannot_be_cut_or_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"^the training part has 3 samples in 1 groups, too few to cut .*; expected at least 2$"):
        validation_indices(3, ValidationConfig(), ["film", "film", "film"])
    with pytest.raises(PluginError, match=r"^groups\(\) of the data set gives 2 groups for 3 samples; expected one for each$"):
        validation_indices(3, ValidationConfig(), ["a", "b"])

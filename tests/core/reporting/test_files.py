import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import DataError, ResourceError
from toolkit.reporting.files import append_jsonl, read_jsonl, rewrite_jsonl, write_json_atomic, write_text_atomic


def failing_fsync(number: int) -> Any:
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    return fsync


def test_text_replaces_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "a.txt", "old")
    write_text_atomic(tmp_path / "a.txt", "néw\n")
    assert (tmp_path / "a.txt").read_bytes() == b"n\xc3\xa9w\n"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_the_old_file_stays(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text_atomic(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "fsync", failing_fsync(number))
    with pytest.raises(ResourceError, match=r"^disk full while writing .*a\.txt; free some space, then `toolkit resume` goes on"):
        write_text_atomic(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"^cannot write .*gone/a\.txt: No such file or directory$"):
        write_text_atomic(tmp_path / "gone" / "a.txt", "text")


def test_a_full_disk_is_told_for_lines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing_fsync(errno.ENOSPC))
    with pytest.raises(ResourceError, match=r"disk full while writing .*rows\.jsonl"):
        append_jsonl(tmp_path / "rows.jsonl", {"epoch": 1})


def test_json_keeps_every_digit_of_a_float(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-300, 1 / 3, 2.0**0.5]
    write_json_atomic(tmp_path / "a.json", {"values": values})
    assert json.loads((tmp_path / "a.json").read_text())["values"] == values
    assert "0.30000000000000004" in (tmp_path / "a.json").read_text()


def test_json_refuses_nan_and_says_where(tmp_path: Path) -> None:
    value = {"scores": {"test/auc": float("nan"), "test/loss": 0.5}, "list": [1.0, float("inf")]}
    with pytest.raises(ValueError, match=r"^a\.json cannot hold NaN or infinity: scores\.test/auc = nan, list\[1\] = inf$"):
        write_json_atomic(tmp_path / "a.json", value)
    assert not (tmp_path / "a.json").exists()


def test_a_value_that_json_has_no_form_for_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json_atomic(tmp_path / "a.json", {"a": object()})


def test_a_file_name_that_is_no_unicode_can_be_written(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a.json", {"command": "toolkit run \udcff.yaml"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"command": "toolkit run \udcff.yaml"}


def test_rows_come_back_in_order_and_rewriting_them_gives_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"epoch": 1, "train/loss": 0.1 + 0.2, "phase": "tête"})
    append_jsonl(path, {"epoch": 2, "train/loss": 1e-17})
    before = path.read_bytes()
    rows = read_jsonl(path)
    assert [row["epoch"] for row in rows] == [1, 2]
    rewrite_jsonl(path, rows)
    assert path.read_bytes() == before


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert read_jsonl(tmp_path / "rows.jsonl") == []


def test_a_half_last_line_is_ignored_and_cut_off_by_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epoch": 2, "train/lo')
    assert read_jsonl(path) == [{"epoch": 1}]
    append_jsonl(path, {"epoch": 2})
    assert path.read_bytes() == b'{"epoch": 1}\n{"epoch": 2}\n'


def test_a_single_half_line_is_cut_off_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"epo')
    append_jsonl(path, {"epoch": 1})
    assert path.read_bytes() == b'{"epoch": 1}\n'


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not JSON: .*; delete the line or the file"):
        read_jsonl(path)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"[1]\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: expected a JSON object, found list"):
        read_jsonl(path)

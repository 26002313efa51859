"""Clock pictures in arrays and folders: layouts, parts, and everything bad input can be."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.cli import main
from toolkit.errors import DataError
from toolkit_clock.datasets import ClockArrays, ClockFolder

LABELS = np.array([[0, 0], [3, 59], [11, 59], [12, 5], [6, 30]])
REAL = Path(os.environ.get("TOOLKIT_DATA", "nowhere")) / "clocks"


def write_arrays(root: Path, labels: np.ndarray = LABELS, pictures: int = 5, split: list[int] | None = None) -> np.ndarray:
    """Grey 4x6 pictures; returns them."""
    images = np.arange(pictures * 24, dtype=np.uint8).reshape(pictures, 4, 6)
    np.save(root / "images.npy", images)
    np.save(root / "labels.npy", labels)
    if split is not None:
        np.save(root / "split.npy", np.array(split, dtype=np.uint8))
    return images


def write_folder(root: Path, rows: list[str], header: str = "file,hour,minute") -> None:
    """A table, and a 3x2 picture a.png, b.png, ... for each row."""
    for letter in "abcde"[: len(rows)]:
        Image.new("L", (3, 2), ord(letter)).save(root / f"{letter}.png")
    (root / "labels.csv").write_text("\n".join([header, *rows]))


def message(text: str) -> str:
    return f"^{re.escape(text)}$"


def test_arrays_have_their_published_parts(tmp_path: Path) -> None:
    images = write_arrays(tmp_path, split=[0, 2, 1, 0, 0])
    data = ClockArrays("train", root=str(tmp_path))
    assert data.splits == ("train", "validation", "test")
    assert data.info.input_shape == (1, 4, 6)
    assert [(sample.id, sample.target.time_min.item()) for sample in data] == [("00000", 0), ("00003", 5), ("00004", 390)]
    np.testing.assert_array_equal(data[1].image, images[3][:, :, None])
    assert [sample.target.time_min.item() for sample in ClockArrays("test", root=str(tmp_path))] == [239]
    assert [sample.target.time_min.item() for sample in ClockArrays("validation", root=str(tmp_path))] == [719]


def test_without_published_parts_a_test_part_is_cut_and_no_picture_is_in_two(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    ids = {split: [sample.id for sample in ClockArrays(split, root=str(tmp_path), test_share=0.4)] for split in ("train", "test")}
    assert ClockArrays("train", root=str(tmp_path)).splits == ("train", "test")
    assert (len(ids["train"]), len(ids["test"])) == (3, 2)
    assert sorted(ids["train"] + ids["test"]) == [f"{n:05d}" for n in range(5)]
    assert len(ClockArrays("train", root=str(tmp_path), limit=2)) == 2


def test_labels_that_are_no_time_are_all_named(tmp_path: Path) -> None:
    write_arrays(tmp_path, np.array([[12, 60], [3, 59], [13, 0], [-1, 5], [0, 0]]))
    text = (
        f"{tmp_path}/labels.npy: 3 of 5 labels are no time: row 0 is 12:60, row 2 is 13:00, row 3 is -1:05; "
        "expected hours 0 to 11 (or 12 for 0) and minutes 0 to 59; correct them"
    )
    with pytest.raises(DataError, match=message(text)):
        ClockArrays("train", root=str(tmp_path))


def test_arrays_of_different_length_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path, LABELS[:3])
    text = f"{tmp_path}/images.npy has 5 pictures, but {tmp_path}/labels.npy has 3 rows; they must be equal, save both again"
    with pytest.raises(DataError, match=message(text)):
        ClockArrays("train", root=str(tmp_path))
    write_arrays(tmp_path, split=[0, 1])
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path))}/images.npy has 5 pictures, but .*/split.npy has 2 rows"):
        ClockArrays("train", root=str(tmp_path))


@pytest.mark.parametrize(
    ("file", "array", "text"),
    [
        ("images", np.zeros((5, 24), np.uint8), "found [5, 24] uint8; expected [N, H, W] or [N, H, W, 3] uint8; save it again"),
        ("images", np.zeros((5, 4, 6), np.float32), "found [5, 4, 6] float32; expected [N, H, W] or [N, H, W, 3] uint8; save it again"),
        ("labels", np.zeros((5, 3), np.int64), "found [5, 3] int64; expected [N, 2] hour and minute; save it again"),
        ("labels", np.zeros((5, 2)), "found [5, 2] float64; expected [N, 2] hour and minute, whole numbers; save it again"),
        ("split", np.array([0, 1, 2, 3, 0]), "holds 0, 1, 2, 3; expected 0 (train), 1 (validation) or 2 (test), and some 0"),
        (
            "labels",
            np.array([{"hour": 3}, None]),
            "holds Python objects (or is no NumPy file), which are not opened because they can run code; "
            "expected [N, 2] hour and minute; save it again with numpy.save",
        ),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, file: str, array: np.ndarray, text: str) -> None:
    write_arrays(tmp_path)
    np.save(tmp_path / f"{file}.npy", array)
    with pytest.raises(DataError, match=message(f"{tmp_path}/{file}.npy: {text}")):
        ClockArrays("train", root=str(tmp_path))


def test_arrays_without_pictures_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((0, 4, 6), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros((0, 2), np.int64))
    text = f"{tmp_path}/images.npy: holds no pictures; expected [N, H, W] or [N, H, W, 3] uint8 with at least one"
    with pytest.raises(DataError, match=message(text)):
        ClockArrays("train", root=str(tmp_path))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path / 'no'))}: no such folder; expected images.npy and labels.npy"):
        ClockArrays("train", root=str(tmp_path / "no"))
    with pytest.raises(DataError, match=r"images.npy: no such file; expected pictures \[N, H, W\] or .* uint8; set TOOLKIT_DATA"):
        ClockArrays("train", root=str(tmp_path))
    write_arrays(tmp_path)
    whole = (tmp_path / "images.npy").read_bytes()
    (tmp_path / "images.npy").write_bytes(whole[:150])
    with pytest.raises(DataError, match=r"images.npy: cannot be read \(.*\); expected pictures .*; save it again with numpy.save$"):
        ClockArrays("train", root=str(tmp_path))


def test_bad_labels_end_a_command_with_one_line_and_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_arrays(tmp_path, np.array([[12, 60], [3, 59], [1, 1], [1, 1], [0, 0]]))
    config = Path(__file__).parents[3] / "configs" / "clock_dials.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(config), f"data.root={tmp_path}", "--out", str(tmp_path / "run")])
    assert ended.value.code == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"error: {tmp_path}/labels.npy: 1 of 5 labels is no time: row 0 is 12:60; expected hours 0 to 11")
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("comma", [",", ";"])
def test_a_folder_is_read_by_its_table(tmp_path: Path, comma: str) -> None:
    rows = [row.replace(",", comma) for row in ("a.png,3,59,train", "b.png,12,5,test", "c.png,0,0,train")]
    write_folder(tmp_path, rows, "file,hour,minute,split".replace(",", comma))
    data = ClockFolder("train", root=str(tmp_path))
    assert data.splits == ("train", "test")
    assert data.info.input_shape == (1, 0, 0)
    assert [(sample.id, sample.target.time_min.item()) for sample in data] == [("a.png", 239), ("c.png", 0)]
    assert (data[0].image == ord("a")).all()
    assert data[0].image.shape == (2, 3, 1)
    assert ClockFolder("test", root=str(tmp_path), channels=3)[0].image.shape == (2, 3, 3)


def test_bad_rows_of_a_table_are_all_named(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a.png,12,60", "b.png,3,59", "c.png,three,0"])
    text = (
        f"{tmp_path}/labels.csv: 2 of 3 labels are no time: 'a.png' is 12:60, 'c.png' is 'three':0; "
        "expected hours 0 to 11 (or 12 for 0) and minutes 0 to 59; correct them"
    )
    with pytest.raises(DataError, match=message(text)):
        ClockFolder("train", root=str(tmp_path))
    write_folder(tmp_path, ["a.png,1,1", "x.png,3,59", "y.png,3,0"])
    text = f"{tmp_path}/labels.csv: 2 of its 3 rows name no file below {tmp_path}: 'x.png', 'y.png'; correct the table"
    with pytest.raises(DataError, match=message(text)):
        ClockFolder("train", root=str(tmp_path))


def test_rows_that_a_spreadsheet_left_empty_are_no_rows(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a.png,12,0", ",,", "b.png,3,59", " , ,"])
    assert len(ClockFolder("train", root=str(tmp_path))) + len(ClockFolder("test", root=str(tmp_path))) == 2


def test_of_many_bad_rows_twenty_are_spelt_out(tmp_path: Path) -> None:
    write_arrays(tmp_path, np.full((30, 2), 60))
    np.save(tmp_path / "images.npy", np.zeros((30, 4, 6), np.uint8))
    with pytest.raises(DataError, match=r"30 of 30 labels are no time: row 0 is 60:60, .*, row 19 is 60:60, and 10 more; expected"):
        ClockArrays("train", root=str(tmp_path))
    write_arrays(tmp_path, split=range(5))
    np.save(tmp_path / "split.npy", np.arange(5) + 100)
    with pytest.raises(DataError, match=r"split.npy: holds 100, 101, 102, 103, 104; expected 0 \(train\)"):
        ClockArrays("train", root=str(tmp_path))


@pytest.mark.parametrize("again", ["a.png", "./a.png"])
def test_a_file_that_could_be_trained_with_and_tested_on_is_refused(tmp_path: Path, again: str) -> None:
    write_folder(tmp_path, ["a.png,12,0", "b.png,3,59", f"{again},12,0"])
    with pytest.raises(DataError, match=message(f"{tmp_path}/labels.csv: more than one row for 'a.png'; leave one row for each")):
        ClockFolder("train", root=str(tmp_path))


@pytest.mark.parametrize("header", ["file,hour,minute", 'file,hour,"minute'])
@pytest.mark.parametrize(("rows", "reason"), [(2, "unexpected end of data"), (20_000, "field larger than field limit (131072)")])
def test_a_quote_that_is_never_closed_is_named(tmp_path: Path, rows: int, reason: str, header: str) -> None:
    write_folder(tmp_path, ['"a.png,12,0' if '"' not in header else "a.png,12,0", *["b.png,3,59"] * rows], header=header)
    text = rf"^{tmp_path}/labels\.csv: line \d+ cannot be read \({re.escape(reason)}\); look for a quote that is never closed$"
    with pytest.raises(DataError, match=text):
        ClockFolder("train", root=str(tmp_path))


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a.png,12,0,5"], header="file,hour,minute,hour")
    text = f"{tmp_path}/labels.csv: its first line names hour more than once; leave one column for each"
    with pytest.raises(DataError, match=message(text)):
        ClockFolder("train", root=str(tmp_path))


@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        ("file,time", ["a.png,3:59"], "its first line has no hour and no minute; found file, time; expected file,hour,minute"),
        ("file,hour,minute", [], "has no rows; expected one for each picture: file,hour,minute"),
        (
            "file,hour,minute,split",
            ["a.png,1,1,test", "b.png,1,1,dev"],
            "its column split holds 'dev', 'test'; expected train, validation or test, and some train",
        ),
    ],
)
def test_tables_of_another_kind_are_refused(tmp_path: Path, header: str, rows: list[str], text: str) -> None:
    write_folder(tmp_path, rows, header)
    with pytest.raises(DataError, match=message(f"{tmp_path}/labels.csv: {text}")):
        ClockFolder("train", root=str(tmp_path))


@pytest.mark.skipif(not REAL.is_dir(), reason="no clocks below TOOLKIT_DATA")
def test_the_prepared_dials_are_read() -> None:
    parts = [ClockArrays(split, root="clocks") for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [11_519, 1_440, 1_439]  # as published
    assert parts[0].info.input_shape == (1, 112, 112)
    assert {parts[2][n].target.time_min.item() % 5 for n in range(50)} == {0}

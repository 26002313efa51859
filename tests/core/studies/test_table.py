"""Tables as CSV, Markdown and HTML."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from toolkit.studies.table import Seconds, Spread, Table, as_csv, as_markdown, spread_of, write_table

SPREAD = spread_of([0.91, 0.95, 0.93])
ROWS = [["a|b", SPREAD, Seconds(75.5)], ["c", spread_of([0.5]), None]]
TABLE = Table("A grid", ["axis", "test/accuracy", "time (s)"], ROWS, {"Seeds": "0, 1"}, ["a <note>"])


def test_a_spread_is_numpys_mean_and_sample_standard_deviation() -> None:
    assert SPREAD is not None
    assert (SPREAD.mean, SPREAD.sd) == pytest.approx((np.mean([0.91, 0.95, 0.93]), np.std([0.91, 0.95, 0.93], ddof=1)))
    assert spread_of([]) is None


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.97931, 0.00029, "0.9793 ± 0.0003"),
        (0.5, 0.00001, "0.5000 ± 1.0e-05"),
        (0.5, 0.0, "0.5000 ± 0"),
        (12.3456, 0.5, "12.35 ± 0.50"),
        (4321.0, 1234.5, "4,321 ± 1,234"),
        (0.00002, 0.000001, "2.0e-05 ± 1.0e-06"),
    ],
)
def test_a_deviation_is_shown_to_the_digits_of_its_mean(mean: float, sd: float, text: str) -> None:
    assert str(Spread(mean, sd, 3)) == text


def test_the_csv_has_every_digit_and_three_columns_for_a_spread() -> None:
    header, first, second = csv.reader(as_csv(TABLE).splitlines())
    assert header == ["axis", "test/accuracy", "test/accuracy sd", "test/accuracy runs", "time (s)"]
    assert SPREAD is not None
    assert first == ["a|b", repr(SPREAD.mean), repr(SPREAD.sd), "3", "75.5"]
    assert second == ["c", "0.5", "", "1", ""]


def test_the_markdown_has_facts_rows_and_notes() -> None:
    assert as_markdown(TABLE).splitlines() == [
        "# A grid",
        "",
        "- Seeds: 0, 1",
        "",
        "| axis | test/accuracy | time (s) |",
        "|---|---:|---:|",
        r"| a\|b | 0.9300 ± 0.0200 | 1 min 16 s |",
        "| c | 0.5000 | \N{EN DASH} |",
        "",
        "- a <note>",
    ]


def test_the_page_is_one_file_with_the_picture_inside_and_text_escaped(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"\x89PNG")
    _, _, page = write_table(TABLE, tmp_path / "new", "table", [tmp_path / "p.png"])
    html = page.read_text(encoding="utf-8")
    assert "a &lt;note&gt;" in html
    assert "data:image/png;base64,iVBORw==" in html
    assert sorted(path.name for path in page.parent.iterdir()) == ["table.csv", "table.html", "table.md"]

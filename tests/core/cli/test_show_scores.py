"""Scores on the terminal."""

from __future__ import annotations

import pytest

from toolkit.cli.show_scores import show_scores


def test_undefined_scores_stand_below_the_others_one_line_for_each_reason(capsys: pytest.CaptureFixture[str]) -> None:
    undefined = {"val/auroc": "there are no defects", "val/f1": "nothing was found", "val/aupro": "there are no defects"}
    show_scores({"test/auroc": 0.98765, "test/f1": 0.5}, undefined)
    assert capsys.readouterr().out.splitlines() == [
        "test/auroc  0.9877",
        "test/f1     0.5000",
        "undefined, since there are no defects: val/auroc, val/aupro",
        "undefined, since nothing was found: val/f1",
    ]


def test_counts_are_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    show_scores({"test/errors": 1289, "test/pixels": 2000.0}, {})
    assert capsys.readouterr().out.splitlines() == ["test/errors  1,289", "test/pixels  2000.0000"]

from toolkit.reporting.scores import NO_NUMBER, Cell, score_tables

SCORES = {
    "val/accuracy": 0.8,
    "val/accuracy/cat": 0.5,
    "test/loss": 0.4,
    "test/accuracy": 0.75,
    "test/accuracy/cat": 0.5,
    "test/accuracy/dog": 1.0,
    "test/accuracy/ox": 0.8,
    "test/f1": 0.7,
    "test/stage1/accuracy": 0.6,
    "test/error_min/left": 30.0,
    "test/error_min/right": 60.0,
}


def test_the_leading_metric_stands_first_and_the_loss_last() -> None:
    tables = score_tables(SCORES, ["test/auc"], "f1")
    assert tables.splits == ("test", "validation")
    assert [row.name for row in tables.main] == ["f1", "accuracy", "auc", "loss"]
    assert [[cell.text for cell in row.cells] for row in tables.main] == [
        ["0.7000", NO_NUMBER],
        ["0.7500", "0.8000"],
        [NO_NUMBER, NO_NUMBER],
        ["0.4000", NO_NUMBER],
    ]


def test_metrics_stand_in_the_order_of_the_test_scores() -> None:
    """Validation of good pictures has another first metric than the test."""
    tables = score_tables({"val/false_alarms": 0.1, "test/auroc": 0.9, "test/false_alarms": 0.2}, [], None)
    assert [row.name for row in tables.main] == ["auroc", "false_alarms"]


def test_the_loss_stands_last_even_where_it_chose_the_epoch() -> None:
    assert [row.name for row in score_tables(SCORES, [], "loss").main] == ["accuracy", "f1", "loss"]


def test_parts_are_grouped_under_their_metric_with_their_spread() -> None:
    group = score_tables(SCORES, [], None).groups[0]
    assert (group.name, [row.name for row in group.rows]) == ("accuracy", ["cat", "dog", "ox"])
    assert group.spread == "lowest 0.5000 (cat), median 0.8000, highest 1.0000 (dog)"
    assert group.splits == ("test", "validation")


def test_a_metric_with_several_parameters_is_one_table_of_parts_by_parameters() -> None:
    scores = {"test/recall@0.1/crack": 0.6, "test/recall@0.1/cut": 0.7, "test/recall@0.2/crack": 0.3, "val/loss": 0.1}
    (table,) = score_tables(scores, ["test/recall@0.2/cut", "val/recall@0.1/crack"], None).groups
    assert (table.name, table.splits) == ("recall, test", ("@0.1", "@0.2"))
    assert [(row.name, [cell.text for cell in row.cells]) for row in table.rows] == [
        ("crack", ["0.6000", "0.3000"]),
        ("cut", ["0.7000", NO_NUMBER]),
    ]


def test_each_part_of_the_data_has_its_own_table_of_parameters() -> None:
    names = [f"{split}/pdj@{t}/knee" for split in ("val", "test") for t in (0.1, 0.2)]
    assert [group.name for group in score_tables(dict.fromkeys(names, 0.5), [], None).groups] == ["pdj, test", "pdj, validation"]


def test_a_metric_with_one_parameter_keeps_its_splits() -> None:
    (group,) = score_tables({"test/pdj@0.2/knee": 0.5, "val/pdj@0.2/knee": 0.6}, [], None).groups
    assert (group.name, group.splits) == ("pdj@0.2", ("test", "validation"))


def test_a_reading_lists_its_metrics_without_bars() -> None:
    reading = next(group for group in score_tables(SCORES, [], None).groups if group.name == "stage1")
    assert [row.name for row in reading.rows] == ["accuracy"]
    assert not reading.bars
    assert reading.splits == ("test",)


def test_bars_are_shares_of_one_or_of_the_longest() -> None:
    groups = {group.name: group for group in score_tables(SCORES, [], None).groups}
    assert [row.cells[0].bar for row in groups["accuracy"].rows] == [50.0, 100.0, 80.0]
    assert [row.cells[0].bar for row in groups["error_min"].rows] == [50.0, 100.0]


def test_a_part_without_a_number_keeps_its_row() -> None:
    group = score_tables({"test/f1/cat": 0.25}, ["test/f1/dog"], None).groups[0]
    assert [row.cells for row in group.rows] == [(Cell("0.2500", "0.25", 25.0),), (Cell(NO_NUMBER),)]


def test_a_group_where_nothing_has_a_number_and_one_below_zero_are_no_error() -> None:
    assert score_tables({}, ["test/f1/dog"], None).groups[0].splits == ("test",)
    assert not score_tables({"test/gain/a": -1.0, "test/gain/b": 2.0}, [], None).groups[0].bars


def test_no_scores_give_empty_tables() -> None:
    tables = score_tables({}, [], None)
    assert (tables.splits, tables.main, tables.groups) == ((), (), ())

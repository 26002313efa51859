from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import read_text, read_yaml
from toolkit.config.reader import MAX_DEPTH
from toolkit.errors import ConfigError


def value_of(written: str) -> Any:
    return read_text(f"key: {written}", "x.yaml").plain()["key"]


def message_of(text: str) -> str:
    with pytest.raises(ConfigError, match=r"^x\.yaml:") as caught:
        read_text(text, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "number"),
    [("3e-4", 0.0003), ("1e3", 1000.0), (".5", 0.5), ("+1.0", 1.0), ("5.", 5.0), ("-2E+3", -2000.0), ("1.", 1.0)],
)
def test_every_spelling_of_a_float_is_a_float(written: str, number: float) -> None:
    value = value_of(written)
    assert type(value) is float
    assert value == number


@pytest.mark.parametrize(("written", "number"), [("10", 10), ("010", 10), ("-7", -7), ("0o10", 8), ("0x1F", 31)])
def test_a_leading_zero_does_not_make_an_octal_number(written: str, number: int) -> None:
    value = value_of(written)
    assert type(value) is int
    assert value == number


@pytest.mark.parametrize(
    "written", ["no", "yes", "on", "off", "y", "NO", "12:30", "1:2:3", "2024-01-31", "1_000", "=", "1e", ".", "0b1", "1.2.3"]
)
def test_what_looks_special_only_to_pyyaml_stays_text(written: str) -> None:
    assert value_of(written) == written


def test_quoted_scalars_are_text() -> None:
    assert [value_of(written) for written in ("'3'", '"true"', "'null'", "!  'x'")] == ["3", "true", "null", "x"]


def test_words_of_the_core_schema() -> None:
    assert [value_of(written) for written in ("true", "False", "null", "~", "")] == [True, False, None, None, None]


def test_infinities_and_nan_are_floats() -> None:
    assert [value_of(".inf"), value_of("-.INF")] == [math.inf, -math.inf]
    assert math.isnan(value_of(".nan"))


def test_an_integer_longer_than_python_reads_becomes_a_float_not_a_crash() -> None:
    assert value_of("9" * 5000) == math.inf


def test_positions_count_lines_and_columns_from_one() -> None:
    root = read_text("task: pose\nfit:\n  phases:\n    - {epochs: 3}\n", "x.yaml")
    phases = root.value["fit"].value["phases"]
    assert str(root.value["fit"].keys["phases"]) == "x.yaml:3:3"
    assert str(phases.value[0].value["epochs"].position) == "x.yaml:4:16"
    assert str(root.position) == "x.yaml:1:1"


def test_a_repeated_key_is_an_error_at_the_second() -> None:
    assert message_of("seed: 1\nfit: 2\nseed: 3\n") == "x.yaml:3:1: key 'seed' is repeated; it stands already in line 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  3: x", "x.yaml:2:3: the key '3' is not text; put it in quotes"),
        ("true: x", "x.yaml:1:1: the key 'true' is not text; put it in quotes"),
        ("? [a, b]\n: x", "x.yaml:1:3: a key must be text"),
        ("? \n: x", "x.yaml:1:2: a key must be text"),
        (
            "a: !!python/object:os.system x",
            "x.yaml:1:4: tag tag:yaml.org,2002:python/object:os.system is not supported; write the value without it",
        ),
        ("a: !!str 3", "x.yaml:1:4: tag tag:yaml.org,2002:str is not supported; write the value without it"),
        ("a: *b", "x.yaml:1:4: alias *b has no anchor &b before it"),
        ("a: &b [1, *b]", "x.yaml:1:11: alias *b stands inside its own anchor"),
        ("<<: 3", "x.yaml:1:1: << takes a mapping or a list of mappings"),
        ("", "x.yaml:1:1: the file is empty"),
        ("\n# only a comment\n", "x.yaml:1:1: the file is empty"),
        ("---\n", "x.yaml:1:1: the file is empty"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document begins here; a config is one document"),
        ("a: b: c", "x.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: [1, 2", "x.yaml:1:9: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a:\n\t- 1", "x.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token; indent with spaces"),
        ("a: 1\nb: x\x07", "x.yaml:2:5: character U+0007 cannot stand in YAML; remove it"),
    ],
)
def test_what_is_not_a_config_document_is_one_line_with_its_place(text: str, message: str) -> None:
    assert message_of(text) == message


def test_deep_nesting_is_refused_in_one_line() -> None:
    assert message_of("a: " + "[" * 100_000) == f"x.yaml:1:53: nested deeper than {MAX_DEPTH} levels"
    assert message_of("\n".join(" " * i + "a:" for i in range(2000))) == f"x.yaml:51:51: nested deeper than {MAX_DEPTH} levels"


def test_aliases_cannot_build_a_deep_document() -> None:
    deep = "a0: &a0 [[[[[[[[[[1]]]]]]]]]]\n" + "".join(f"a{i}: &a{i} [[[[[[[[[[*a{i - 1}]]]]]]]]]]\n" for i in range(1, 9))
    assert message_of(deep) == f"x.yaml:5:19: nested deeper than {MAX_DEPTH} levels"


def test_aliases_that_explode_are_refused() -> None:
    laughs = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))
    assert message_of(laughs) == "x.yaml:5:45: more than 100000 values, aliases counted as what they stand for"


def test_an_alias_repeats_its_anchor() -> None:
    root = read_text("train: &list [Flip, {name: Crop}]\neval: *list\n", "x.yaml")
    assert root.plain() == {"train": ["Flip", {"name": "Crop"}], "eval": ["Flip", {"name": "Crop"}]}
    assert str(root.value["eval"].position) == "x.yaml:2:7"


def test_merge_keys_give_way_to_what_is_written_and_to_what_is_merged_first() -> None:
    root = read_text("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n", "x.yaml")
    assert root.plain()["c"] == {"x": 3, "y": 1, "z": 2}
    assert str(root.value["c"].keys["z"]) == "x.yaml:2:14"


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert read_text("'<<': 3", "x.yaml").plain() == {"<<": 3}


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\n")
    node = read_yaml(tmp_path / "x.yaml")
    assert node.plain() == {"seed": 1}
    assert node.keys["seed"].column == 1


def test_a_file_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: 1\nname: caf\xe9\n")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}:2:10: byte 0xe9 is not UTF-8; save the file as UTF-8$"):
        read_yaml(file)


def test_a_missing_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "pose_deeppose.yaml").touch()
    with pytest.raises(ConfigError, match=r"no config file at .*/pose_deepose\.yaml; did you mean .*/pose_deeppose\.yaml\?$"):
        read_yaml(tmp_path / "pose_deepose.yaml")


def test_a_config_named_without_its_folder_is_found_there(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "pose.yaml").touch()
    with pytest.raises(ConfigError, match=r"no config file at .*/pose; did you mean .*/configs/pose\.yaml\?$"):
        read_yaml(tmp_path / "pose")


def test_an_option_in_place_of_a_file_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config file at .*; it looks like an option, which this command does not take$"):
        read_yaml(tmp_path / "fit.batch_size=3")


def test_a_missing_file_lists_the_others(tmp_path: Path) -> None:
    (tmp_path / "pose.yaml").touch()
    (tmp_path / "clock.yml").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no config file at .*/zzz; .* has clock\.yml, pose\.yaml$"):
        read_yaml(tmp_path / "zzz")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config file at .*/none/x\.yaml; there is no folder .*/none either$"):
        read_yaml(tmp_path / "none" / "x.yaml")


def test_a_folder_is_no_config_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(str(tmp_path))} is a folder, not a config file$"):
        read_yaml(tmp_path)

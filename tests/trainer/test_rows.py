"""One column of texts from every format, and one line for whatever is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from sro_api.sources import Roots
from sro_api.training import DataSource
from sro_trainer.errors import DataError
from sro_trainer.rows import read_rows


def read(folder: Path, name: str, **fields: object) -> list[str]:
    source = DataSource(uri=f"file:{name}", **fields)
    return read_rows(source, Roots(inputs=folder, outputs=folder), "spec.data.toxic")


def written(folder: Path, name: str, content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return name


@pytest.mark.parametrize(
    ("name", "content", "column", "expected"),
    [
        pytest.param("a.txt", "one\ntwo\n", None, ["one", "two"], id="text"),
        pytest.param("a.txt", "one\r\n\r\ntwo", None, ["one", "", "two"], id="text with blank line and no end"),
        pytest.param(
            "a.txt",
            "one\u2028still one\x85and on\n",
            None,
            ["one\u2028still one\x85and on"],
            id="only newline ends a line",
        ),
        pytest.param("a.txt", "\ufeffone\n", None, ["one"], id="byte order mark"),
        pytest.param("a.csv", 'id,t\n1,"a, ""b""\nc"\n2,d\n', "t", ['a, "b"\nc', "d"], id="csv with quotes"),
        pytest.param(
            "a.tsv", 'x\tt\n1\t"open quote\n2\tb\n3\n', "t", ['"open quote', "b", ""], id="tsv without quoting"
        ),
        pytest.param("a.jsonl", '{"t": "a"}\n\n{"t": null, "u": 1}\n', "t", ["a", ""], id="jsonl"),
    ],
)
def test_a_column_is_read_as_it_is_written(
    tmp_path: Path, name: str, content: str, column: str | None, expected: list[str]
) -> None:
    assert read(tmp_path, written(tmp_path, name, content), column=column) == expected


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_a_parquet_column_is_read_whatever_its_kind_of_string(tmp_path: Path, kind: pyarrow.DataType) -> None:
    column = pyarrow.array(["a", None, "b"]).cast(kind)
    pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2, 3], "t": column}), tmp_path / "a.parquet")
    assert read(tmp_path, "a.parquet", column="t") == ["a", "", "b"]


def test_a_field_over_the_standard_library_limit_is_read(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert read(tmp_path, written(tmp_path, "a.csv", f"t\n{long}\n"), column="t") == [long]


def test_only_the_first_rows_are_read_where_a_limit_is_given(tmp_path: Path) -> None:
    assert read(tmp_path, written(tmp_path, "a.txt", "1\n2\n3\n"), max_rows=2) == ["1", "2"]


def test_the_format_can_be_given_where_the_name_does_not_tell_it(tmp_path: Path) -> None:
    name = written(tmp_path, "a.data", json.dumps({"t": "x"}) + "\n")
    assert read(tmp_path, name, format="jsonl", column="t") == ["x"]


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        pytest.param("a.txt", b"", None, "'file:a.txt' is an empty file", id="empty file"),
        pytest.param("a.txt", b"ok\nb\xffad\n", None, "not UTF-8: byte 0xff in line 2, at offset 4", id="not UTF-8"),
        pytest.param(
            "a.csv",
            b"x,y\n1,2\n",
            "t",
            "spec.data.toxic.column: 't' is not in the file, whose columns are x, y",
            id="column",
        ),
        pytest.param("a.tsv", b"x\ty\n1\t2\n", "t", "whose columns are x, y", id="tsv column"),
        pytest.param("a.csv", b't\n"a\n', "t", "no readable csv file", id="open quote"),
        pytest.param("a.jsonl", b'{"t": "a"}\n{"t": \n', "t", "line 2 is no JSON", id="broken JSON"),
        pytest.param("a.jsonl", b"[1]\n", "t", "line 1 is no JSON object", id="JSON list"),
        pytest.param("a.jsonl", b'{"t": 5}\n', "t", "line 1: 't' is no text but int", id="number"),
        pytest.param("a.jsonl", b'{"u": "a"}\n', "t", "whose columns are u", id="jsonl column"),
        pytest.param("a.parquet", b"PAR1 no", "t", "no readable parquet file", id="broken parquet"),
    ],
)
def test_bad_input_gets_one_line_that_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, column: str | None, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, written(tmp_path, name, content), column=column)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_parquet_column_names_those_that_there_are(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": ["x"], "b": ["y"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="whose columns are a, b"):
        read(tmp_path, "a.parquet", column="t")


def test_a_parquet_column_of_lists_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"t": [["x"]]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no readable parquet file of texts"):
        read(tmp_path, "a.parquet", column="t")


def test_a_folder_is_no_file_of_rows(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path, "d")

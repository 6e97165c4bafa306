"""One column of texts from a file: text, csv, tsv, jsonl or parquet, with one line for whatever is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow
import pyarrow.parquet

from sro_api.sources import Roots
from sro_api.training import DataSource
from sro_trainer.errors import DataError, first_line
from sro_trainer.sources_io import resolve

_FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".parquet": "parquet"}
_FIELD_LIMIT = 16 * 2**20
"""Characters of one csv field; the standard library stops at 131,072, which long comments exceed."""


def read_rows(source: DataSource, roots: Roots, field: str) -> list[str]:
    """The texts of a source in file order, as they are written; a missing value is the empty text.

    Args:
        source: what to read.
        roots: where relative and claim URIs start.
        field: the field of the spec to name in an error.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or malformed, or lacks the column.
    """
    path = resolve(source.uri, roots, field=field)
    if path.is_dir():
        raise DataError(f"{field}: {source.uri!r} is a folder; name one file")
    if path.stat().st_size == 0:
        raise DataError(f"{field}: {source.uri!r} is an empty file")
    kind = _FORMATS.get(path.suffix, "text") if source.format == "auto" else source.format
    reader = _Reader(path=path, column=source.column or "", where=f"{field}: {source.uri!r}", field=field)
    rows = {
        "text": reader.text,
        "csv": reader.csv,
        "tsv": reader.tsv,
        "jsonl": reader.jsonl,
        "parquet": reader.parquet,
    }[kind]()
    return list(islice(rows, source.max_rows))


class _Reader:
    """The formats, one method each."""

    def __init__(self, *, path: Path, column: str, where: str, field: str) -> None:
        self._path = path
        self._column = column
        self._where = where
        self._field = field

    def text(self) -> Iterator[str]:
        yield from self._lines()

    def csv(self) -> Iterator[str]:
        csv.field_size_limit(_FIELD_LIMIT)
        return self._table(csv.reader(io.StringIO(self._decoded(), newline=""), strict=True))

    def tsv(self) -> Iterator[str]:
        """Tab-separated values have no quoting: a quotation mark is a character like any other."""
        return self._table(iter([line.split("\t") for line in self._lines()]))

    def jsonl(self) -> Iterator[str]:
        for number, line in enumerate(self._lines(), start=1):
            if line.strip():
                yield self._json_value(number, line)

    def parquet(self) -> Iterator[str]:
        try:
            file = pyarrow.parquet.ParquetFile(self._path)
            column = self._known_column(file.schema_arrow.names)
            for batch in file.iter_batches(columns=[column]):
                values = batch.column(0).cast(pyarrow.string())
                yield from (value or "" for value in values.to_pylist())
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            raise DataError(f"{self._where} is no readable parquet file of texts: {first_line(error)}") from error

    def _table(self, records: Iterator[list[str]]) -> Iterator[str]:
        try:
            header = next(records)
            index = header.index(self._known_column(header))
            for record in records:
                yield record[index] if index < len(record) else ""
        except csv.Error as error:
            raise DataError(f"{self._where} is no readable csv file: {error}") from error

    def _json_value(self, number: int, line: str) -> str:
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{self._where}: line {number} is no JSON: {error.msg} at column {error.colno}") from error
        if not isinstance(record, dict):
            raise DataError(f"{self._where}: line {number} is no JSON object")
        value = record[self._known_column(list(record))]
        if value is not None and not isinstance(value, str):
            raise DataError(f"{self._where}: line {number}: {self._column!r} is no text but {type(value).__name__}")
        return value or ""

    def _known_column(self, columns: list[str]) -> str:
        if self._column not in columns:
            raise DataError(
                f"{self._field}.column: {self._column!r} is not in the file, whose columns are {', '.join(columns)}"
            )
        return self._column

    def _lines(self) -> list[str]:
        """Lines ended by newline alone: U+2028 and its like belong to the text."""
        lines = [line.removesuffix("\r") for line in self._decoded().split("\n")]
        return lines[:-1] if lines[-1] == "" else lines

    def _decoded(self) -> str:
        content = self._path.read_bytes()
        try:
            return content.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{self._where} is not UTF-8: byte 0x{content[error.start]:02x} in line {line}, at offset {error.start}"
            ) from error

"""Paraphrases by people: found for the evaluation rows, measured, and kept out of everything that is trained or fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sro_api.evaluation import ReferencesSource
from sro_api.sources import Roots
from sro_api.training import DataSource
from sro_trainer.errors import DataError
from sro_trainer.rows import read_rows

FIELD = "spec.evaluation.references"


@dataclass(frozen=True, kw_only=True)
class References:
    """Of the evaluation rows."""

    first: tuple[str | None, ...]
    """Each row's human reference: the first one that is not empty; None where the file has none."""
    every: frozenset[str]
    """All references of these rows, which nothing may learn from."""


NO_REFERENCES = References(first=(), every=frozenset())


def load_references(source: ReferencesSource, roots: Roots, evaluation: Sequence[str]) -> References:
    """Find the references of the evaluation rows.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a reference for none of the rows.
    """
    columns = [read_rows(_column(source, name), roots, FIELD) for name in (source.column, *source.references)]
    found: dict[str, tuple[str, ...]] = {}
    for text, *references in zip(*columns, strict=True):
        given = tuple(stripped for reference in references if (stripped := reference.strip()))
        if given:
            found.setdefault(text.strip(), given)
    first = tuple(found[text][0] if text in found else None for text in evaluation)
    if not any(first):
        raise DataError(f"{FIELD}: {source.uri!r} has a reference for none of the {len(evaluation)} evaluation rows")
    return References(first=first, every=frozenset(text for row in evaluation for text in found.get(row, ())))


def _column(source: ReferencesSource, name: str) -> DataSource:
    return DataSource(uri=source.uri, format=source.format, column=name)

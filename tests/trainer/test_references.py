"""Paraphrases by people: found for the evaluation rows, and kept out of what is learnt from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sro_api.evaluation import ReferencesSource
from sro_api.sources import Roots
from sro_trainer.data import load_datasets
from sro_trainer.errors import DataError
from sro_trainer.references import load_references
from sro_trainer.testing import tiny_job

TABLE = "toxic\tneutral1\tneutral2\nyou fool\tyou are wrong\t\nshut up\t\tplease be quiet\nget lost\t\t\n"


def source_in(folder: Path, **fields: object) -> ReferencesSource:
    (folder / "p.tsv").write_text(TABLE)
    named = {"uri": "file:p.tsv", "column": "toxic", "references": ["neutral1", "neutral2"], **fields}
    return ReferencesSource.model_validate(named)


def test_a_row_has_the_first_reference_that_is_not_empty(tmp_path: Path) -> None:
    roots = Roots(inputs=tmp_path, outputs=tmp_path)
    found = load_references(source_in(tmp_path), roots, ["shut up", "get lost", "you fool", "unknown"])
    assert found.first == ("please be quiet", None, "you are wrong", None)


def test_references_for_none_of_the_rows_are_an_error(tmp_path: Path) -> None:
    roots = Roots(inputs=tmp_path, outputs=tmp_path)
    with pytest.raises(DataError, match=r"spec.evaluation.references: 'file:p.tsv' has a reference for none of the 1"):
        load_references(source_in(tmp_path), roots, ["unknown"])


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    roots = Roots(inputs=tmp_path, outputs=tmp_path)
    with pytest.raises(DataError, match="'neutral9' is not in the file"):
        load_references(source_in(tmp_path, references=["neutral9"]), roots, ["you fool"])


def test_nothing_is_learnt_from_a_reference_of_an_evaluation_row(tmp_path: Path) -> None:
    config = tiny_job(tmp_path)
    plain = load_datasets(config.spec, config.roots)
    answer = plain.neutral[3]
    lines = "".join(f"{text}\t{answer}\n" for text in plain.evaluation)
    (tmp_path / "p.tsv").write_text(f"toxic\tneutral\n{lines}")
    references = {"uri": "file:p.tsv", "column": "toxic", "references": ["neutral"]}
    config = tiny_job(tmp_path, evaluation={"references": references})
    found = load_datasets(config.spec, config.roots)
    assert found.references.first == (answer,) * len(found.evaluation)
    assert found.neutral == tuple(text for text in plain.neutral if text != answer)
    assert found.counts["neutral_references"] == 1

"""A detector is fitted once: taken from the run's folder or a neighbour's where it was fitted on the same, and else fitted anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sro_api.fluency import FluencyGuardSpec
from sro_api.sources import Roots
from sro_trainer import fluency
from sro_trainer.detector import Fitted, fit_detector
from sro_trainer.fluency import build_fluency_guard
from sro_trainer.testing import neutral_sentences, tiny_leader

TEXTS = neutral_sentences()[:90]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sentences each fit was on."""
    counted: list[int] = []

    def counting(reader: Any, texts: Any, *, seed: int) -> Fitted:
        counted.append(len(texts))
        return fit_detector(reader, texts, seed=seed)

    monkeypatch.setattr(fluency, "fit_detector", counting)
    return counted


@pytest.fixture
def build(tmp_path: Path) -> Any:
    tiny_leader("llama").save(tmp_path / "model")
    spec = FluencyGuardSpec(model="file:model", layers=1)
    roots = Roots(inputs=tmp_path, outputs=tmp_path)

    def built(*caches: str, texts: list[str] = TEXTS, seed: int = 0) -> list[float]:
        guard = build_fluency_guard(spec, roots, texts, seed=seed, caches=[tmp_path / cache for cache in caches])
        scores: list[float] = guard.scores(TEXTS[:3]).tolist()
        return scores

    return built


def test_a_second_attempt_takes_what_the_first_fitted(build: Any, fits: list[int]) -> None:
    assert build("own") == build("own")
    assert len(fits) == 1


def test_a_neighbour_that_was_fitted_on_the_same_is_copied(build: Any, fits: list[int], tmp_path: Path) -> None:
    assert build("neighbour") == build("own", "neighbour")
    assert len(fits) == 1
    assert (tmp_path / "own" / "fluency-guard.npz").is_file()


@pytest.mark.parametrize("other", [{"texts": TEXTS[:80]}, {"seed": 1}], ids=["other texts", "another seed"])
def test_one_that_was_fitted_on_something_else_is_not_taken(build: Any, fits: list[int], other: dict[str, Any]) -> None:
    build("own")
    build("neighbour", **other)
    build("own", "neighbour", **other)
    build("own", **other)
    assert len(fits) == 2


def test_without_a_folder_each_is_fitted(build: Any, fits: list[int]) -> None:
    assert build() == build()
    assert len(fits) == 2

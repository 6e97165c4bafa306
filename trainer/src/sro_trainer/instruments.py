"""What the held-out figures are measured with: screeners, sentence encoder, fluency; each of a kind that the spec names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sro_api.sources import Roots
from sro_api.training import SimilaritySpec
from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.data import Datasets
from sro_trainer.fluency import Fluency, build_fluency, fit_texts
from sro_trainer.similarity import SimilarityEncoder, build_encoder
from sro_trainer.verdicts import Screener

DEFAULT_FLUENT_AT = 0.5


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """Frozen for a whole run; the same text gets the same figures from them, whoever wrote it."""

    screener: Screener
    """The training screener."""
    held_out: Screener | None = None
    """STA is its verdict."""
    encoder: SimilarityEncoder | None = None
    """SIM is its cosine."""
    fluency: Fluency | None = None
    """FL is whether its score reaches `fluent_at`."""
    fluent_at: float = DEFAULT_FLUENT_AT
    similarity_model: str = ""

    def describe(self) -> dict[str, str]:
        """One line for each figure that is measured."""
        lines = {"training screener": self.screener.describe()}
        if self.held_out is not None:
            lines["STA"] = self.held_out.describe()
        if self.encoder is not None:
            lines["SIM"] = f"cosine of source and paraphrase by {self.similarity_model}, mean-pooled"
        if self.fluency is not None:
            lines["FL"] = f"{self.fluency.describe()}; fluent at {self.fluent_at:g} or above"
        return lines


def build_instruments(
    spec: SROJobSpec,
    roots: Roots,
    datasets: Datasets,
    screeners: tuple[Screener, Screener | None],
    *,
    caches: Sequence[Path],
    shared: SimilarityEncoder | None = None,
) -> Instruments:
    """Load and fit what `spec.evaluation` names.

    Args:
        spec: of the job.
        roots: where relative and claim URIs start.
        datasets: of the job; the fluency detector is fitted on its human-written sentences.
        screeners: the training screener and the held-out one.
        caches: folders of fitted classifiers, the run's own first.
        shared: the guard's encoder, which also measures where it is the same model.

    Raises:
        ConfigurationError, DataError: something cannot be used.
    """
    named = spec.evaluation
    fluency = None
    if named.fluency is not None:
        texts, _ = human_written(spec, datasets)
        fluency = build_fluency(named.fluency, roots, texts, seed=spec.data.split_seed, caches=caches)
    return Instruments(
        screener=screeners[0],
        held_out=screeners[1],
        encoder=_encoder(spec, roots, shared),
        fluency=fluency,
        fluent_at=named.fluency.threshold if named.fluency is not None else DEFAULT_FLUENT_AT,
        similarity_model=named.similarity.model if named.similarity is not None else "",
    )


def human_written(spec: SROJobSpec, datasets: Datasets) -> tuple[Sequence[str], Sequence[str]]:
    """Sentences for the evaluation's fluency and, others, for the guard's."""
    return fit_texts(datasets.neutral, datasets.leader_toxic, seed=spec.data.split_seed)


def _encoder(spec: SROJobSpec, roots: Roots, shared: SimilarityEncoder | None) -> SimilarityEncoder | None:
    measured, guard = spec.evaluation.similarity, spec.guards.similarity
    if measured is None:
        return None
    if (
        shared is not None
        and guard is not None
        and (guard.model, guard.max_tokens) == (measured.model, measured.max_tokens)
    ):
        return shared
    wanted = SimilaritySpec(model=measured.model, max_tokens=measured.max_tokens)
    return build_encoder(wanted, roots, field="spec.evaluation.similarity.model")

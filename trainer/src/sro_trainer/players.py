"""Who takes part in a run: the leader's language, the followers, the encoder, and the rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from sro_api.method import VerdictNoiseSpec
from sro_api.run_config import RunConfig
from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.data import Datasets, load_datasets
from sro_trainer.distributed import World
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.fluency import Fluency, build_fluency_guard
from sro_trainer.instruments import Instruments, build_instruments, human_written
from sro_trainer.models import load_tokenizer
from sro_trainer.order import steps_in
from sro_trainer.perturbation import Follower, with_blind_spots
from sro_trainer.references import NO_REFERENCES, References
from sro_trainer.screeners import NBLogisticScreener, build_screener
from sro_trainer.similarity import SimilarityEncoder, build_encoder
from sro_trainer.sources_io import ModelLocation, resolve_model
from sro_trainer.tokens import Codec, Task, within_limit
from sro_trainer.verdict_weights import ErrorRates, Weigher, calibrated_sharpness, estimated_rates
from sro_trainer.verdicts import Screener

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Players:
    """Everything that stays the same over a run."""

    spec: SROJobSpec
    world: World
    codec: Codec
    sources: tuple[str, ...]
    """Toxic sources within the token limit."""
    neutral: tuple[str, ...]
    """Neutral sentences within the token limit."""
    evaluation: tuple[str, ...]
    screener: Screener
    """As it is: what evaluation asks."""
    follower: Follower
    """The same with the spec's perturbation: what the leader plays against."""
    weigher: Weigher
    held_out: Screener | None
    encoder: SimilarityEncoder | None
    parallel: tuple[tuple[str, str], ...] = ()
    """Pairs within the token limits, for supervised fine-tuning alone."""
    fingerprint: str
    counts: dict[str, int]
    fluency_guard: Fluency | None = None
    """What `spec.guards.fluency` asks for; the evaluation has a fluency of its own."""
    references: References = NO_REFERENCES
    """Paraphrases by people of the evaluation rows."""
    instruments: Instruments | None = None
    """What the evaluations are measured with, on rank 0; None on the others."""

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the game."""
        plan = self.spec.optimization
        if plan.steps is not None:
            return plan.steps
        return steps_in(plan.epochs or 1, batch_size=plan.batch_size, rows=len(self.parallel or self.sources))

    @property
    def warm_start_steps(self) -> int:
        """Optimiser steps of the warm start; 0 where there is none."""
        return self.spec.leader.warm_start.steps if self.spec.leader.warm_start else 0

    @property
    def starts_warm(self) -> bool:
        """Whether the game starts from a warm-started reference, this job's own or another's."""
        return self.warm_start_steps > 0 or self.spec.leader.warm_start_from is not None


def leader_locations(config: RunConfig) -> tuple[ModelLocation, ModelLocation]:
    """Where the leader's weights and its tokenizer lie, fetched if they are remote.

    Raises:
        ConfigurationError, DataError: they cannot be.
    """
    leader = config.spec.leader
    model = resolve_model(leader.model, config.roots)
    if leader.tokenizer is None:
        return model, model
    return model, resolve_model(leader.tokenizer, config.roots, field="spec.leader.tokenizer")


def build_players(
    config: RunConfig, world: World, codec: Codec, *, cache: Path, neighbour: Path | None = None
) -> Players:
    """Read the data and set up the followers.

    Args:
        config: of the run.
        world: the ranks.
        codec: of the leader.
        cache: folder of the run's fitted screeners; rank 0 fits them, the others load what it wrote.
        neighbour: the same folder of the job whose warm start is loaded; a detector that was fitted there on the same is taken.

    Raises:
        ConfigurationError, DataError: something that the spec names cannot be used.
    """
    spec = config.spec
    datasets = load_datasets(spec, config.roots)
    if not world.is_main:
        world.barrier()
    screener = build_screener(spec.screener, datasets, config.roots, cache=cache)
    held_out = None
    if spec.held_out_screener is not None:
        held_out = build_screener(spec.held_out_screener, datasets, config.roots, cache=cache)
    caches = [cache] if neighbour is None else [cache, neighbour]
    guard = None
    if spec.guards.fluency is not None:
        _, texts = human_written(spec, datasets)
        guard = build_fluency_guard(spec.guards.fluency, config.roots, texts, seed=spec.data.split_seed, caches=caches)
    encoder = build_encoder(spec.guards.similarity, config.roots) if spec.guards.similarity is not None else None
    instruments = None
    if world.is_main:
        world.barrier()
        instruments = build_instruments(
            spec, config.roots, datasets, (screener, held_out), caches=caches, shared=encoder
        )
    follower = build_follower(spec, screener)
    weigher = build_weigher(spec, follower, datasets)
    sources, neutral, evaluation = _limited(spec, codec, datasets)
    parallel = _limited_pairs(spec, codec, datasets.parallel)
    counts = datasets.counts | {
        "leader_overlong": len(datasets.leader_toxic) - len(sources),
        "evaluation_overlong": len(datasets.evaluation) - len(evaluation),
        **({"parallel_overlong": len(datasets.parallel) - len(parallel)} if parallel else {}),
    }
    return Players(
        spec=spec, world=world, codec=codec, sources=sources, neutral=neutral, evaluation=evaluation, screener=screener,
        follower=follower, weigher=weigher,
        held_out=held_out, encoder=encoder, parallel=parallel, fingerprint=datasets.fingerprint, counts=counts,
        fluency_guard=guard, references=_kept_references(datasets, evaluation), instruments=instruments,
    )  # fmt: skip


def build_follower(spec: SROJobSpec, screener: Screener) -> Follower:
    """The screener with the spec's perturbation.

    Raises:
        ConfigurationError: blind spots are asked of a screener without a vocabulary.
    """
    perturbation, seed = spec.screener.perturbation, spec.optimization.seed
    if perturbation.kind == "BlindSpots":
        if not isinstance(screener, NBLogisticScreener):
            raise ConfigurationError("spec.screener.perturbation.kind: BlindSpots needs screener.type NBLogistic")
        screener = replace(screener, model=with_blind_spots(screener.model, rate=perturbation.rate, seed=seed))
    return Follower(screener=screener, threshold=spec.screener.threshold, perturbation=perturbation, seed=seed)


def build_weigher(spec: SROJobSpec, follower: Follower, datasets: Datasets) -> Weigher:
    """How verdicts become weights; what must be estimated for it is, on rows that the follower was not fitted on.

    Raises:
        DataError: the follower errs too often on them.
    """
    noise, threshold = spec.method.verdict_noise, spec.screener.threshold
    weigher = Weigher(
        rates=known_rates(noise), threshold=threshold, clip=noise.clip,
        rows=spec.optimization.batch_size * spec.leader.sampling.paraphrases_per_source if noise.shrinkage else None,
    )  # fmt: skip
    if not spec.method.needs_certain_rows:
        return _told(weigher)
    # The follower errs here as it does in the game, so that nothing is learnt of it that a real run could not see.
    toxic, neutral = (
        follower.verdicts(texts, [f"certain/{kind}/{row}" for row in range(len(texts))])
        for kind, texts in (("toxic", datasets.certain_toxic), ("neutral", datasets.certain_neutral))
    )
    rates = estimated_rates(toxic, neutral) if noise.correction == "estimated" else weigher.rates
    soft = spec.method.sro is not None and spec.method.sro.soft_verdict
    sharpness = calibrated_sharpness(toxic, neutral, threshold=threshold, rates=rates) if soft else None
    logger.info(
        "verdicts are weighed",
        extra={
            "correction": noise.correction, "false_pass_rate": rates.false_pass, "false_fail_rate": rates.false_fail,
            "sharpness": sharpness, "toxic_rows": len(toxic.passed), "neutral_rows": len(neutral.passed),
        },
    )  # fmt: skip
    return _told(replace(weigher, rates=rates, sharpness=sharpness))


def _told(weigher: Weigher) -> Weigher:
    if weigher.may_cost_more:
        logger.warning(
            "spec.method.verdictNoise: with so many errors the correction may cost more than they do; shrinkage holds its weights",
            extra={
                "false_pass_rate": weigher.rates.false_pass,
                "false_fail_rate": weigher.rates.false_fail,
                "largest_weight": weigher.largest_weight,
            },
        )
    return weigher


def known_rates(noise: VerdictNoiseSpec) -> ErrorRates:
    """The rates that the spec gives; none where it corrects for none."""
    if noise.correction != "known":
        return ErrorRates()
    if noise.rate is not None:
        return ErrorRates(false_pass=noise.rate, false_fail=noise.rate)
    return ErrorRates(false_pass=noise.false_pass_rate or 0.0, false_fail=noise.false_fail_rate or 0.0)


def build_codec(
    config: RunConfig, location: ModelLocation, task: Task, generation_eos: int | list[int] | None
) -> Codec:
    """The leader's tokenizer with the spec's template.

    Args:
        config: of the run.
        location: of the tokenizer.
        task: kind of the leader.
        generation_eos: end-of-sequence ids of the model's generation configuration: one, several or None.
    """
    tokenizer = load_tokenizer(location, config.spec.leader)
    listed = generation_eos if isinstance(generation_eos, list) else [generation_eos]
    eos_ids = frozenset({int(tokenizer.eos_token_id), *(int(eos) for eos in listed if eos is not None)})
    return Codec(tokenizer, task, config.spec.leader.prompt_template, eos_ids)


def _limited(
    spec: SROJobSpec, codec: Codec, datasets: Datasets
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    limit, overlong = spec.leader.max_source_tokens, spec.data.overlong
    sources = within_limit(codec, datasets.leader_toxic, limit, overlong)
    evaluation = within_limit(codec, datasets.evaluation, limit, overlong)
    # Neutral sentences are also the screener's: a long one is of use there, and only not to be restored.
    neutral = within_limit(codec, datasets.neutral, limit, "skip") if spec.leader.warm_start else ()
    return sources, neutral, evaluation


def _limited_pairs(spec: SROJobSpec, codec: Codec, pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The pairs whose source can be read and whose paraphrase could be written.

    Raises:
        DataError: there are pairs, and none is.
    """
    leader = spec.leader
    lengths = zip(
        codec.lengths([x for x, _ in pairs]), codec.targets([y for _, y in pairs]) if pairs else [], strict=True
    )
    fits = [length <= leader.max_source_tokens and len(target) <= leader.max_new_tokens for length, target in lengths]
    kept = tuple(pair for pair, fit in zip(pairs, fits, strict=True) if fit)
    if pairs and not kept:
        raise DataError(
            f"spec.data.parallel: all {len(pairs)} pairs are over leader.maxSourceTokens {leader.max_source_tokens} or "
            f"leader.maxNewTokens {leader.max_new_tokens}"
        )
    return kept


def _kept_references(datasets: Datasets, evaluation: tuple[str, ...]) -> References:
    """Those of the rows that are within the token limit."""
    found = dict(zip(datasets.evaluation, datasets.references.first, strict=False))
    first = tuple(found.get(text) for text in evaluation)
    return References(first=first, every=datasets.references.every) if any(first) else NO_REFERENCES

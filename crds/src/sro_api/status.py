"""`status` of an SROJob: what the operator and rank 0 observed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel

Phase = Literal["Accepted", "Queued", "Running", "Suspended", "Restarting", "Complete", "Failed"]
Share = Annotated[float, Field(ge=0, le=1)]


class Condition(ApiModel):
    """A metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    message: Annotated[str, Field(max_length=32_768)]
    last_transition_time: datetime
    """When `status` last changed; reason and message may change without it."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None


class PodExit(ApiModel):
    """How the trainer container of one pod ended."""

    index: Annotated[int, Field(ge=0, le=999)]
    """The pod's completion index, which is its node rank."""
    exit_code: Annotated[int, Field(ge=0, le=255)]
    reason: Annotated[str, Field(max_length=128)] | None = None
    """The kubelet's word, as OOMKilled or Error."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """The container's termination message."""


class AttemptStatus(ApiModel):
    """One launch of the gang."""

    number: Annotated[int, Field(ge=1, le=100_000)]
    start_time: datetime
    end_time: datetime | None = None
    reason: Annotated[str, Field(max_length=128)] | None = None
    """Why it ended; absent while it runs."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    resumed_from_step: Annotated[int, Field(ge=0)] = 0
    """The last checkpoint reported before it started; 0 from the beginning."""
    exits: Annotated[tuple[PodExit, ...], Field(max_length=16)] = ()
    """The pods that failed, at most 16; empty after success."""
    counted: bool = False
    """Whether it used up one of `maxRestarts`."""
    nodes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Pods that it was made of."""
    next_nodes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Pods of the attempt after it, where it ended because there were nodes for so many alone."""


class ProgressPoint(ApiModel):
    """One entry of the progress history."""

    step: Annotated[int, Field(ge=0)]
    loss: float
    pass_rate: Share


class ProgressStatus(ApiModel):
    """Written by rank 0 of the running attempt, by server-side apply, and by nobody else."""

    attempt: Annotated[int, Field(ge=1, le=100_000)]
    """Which attempt reported this."""
    stage: Literal["Starting", "WarmStart", "Evaluating", "Training", "Saving", "Done"] = "Starting"
    step: Annotated[int, Field(ge=0)]
    """Optimiser steps of the game done; the warm start has its own count."""
    total_steps: Annotated[int, Field(ge=0)]
    warm_start_step: Annotated[int, Field(ge=0)] | None = None
    percent: Annotated[int, Field(ge=0, le=100)]
    seconds_left: Annotated[int, Field(ge=0)] | None = None
    loss: float | None = None
    """Mean SRO loss of the last step."""
    pass_rate: Share | None = None
    """Share of the last step's paraphrases that passed screener and guards."""
    held_out_pass_rate: Share | None = None
    """The same texts by the held-out screener."""
    similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Mean cosine of source and paraphrase in the last step."""
    kl: float | None = None
    """Mean k3 estimate of KL(policy || reference) per paraphrase, nats."""
    samples_per_second: Annotated[float, Field(ge=0)] | None = None
    last_checkpoint_step: Annotated[int, Field(ge=0)] | None = None
    updated_at: datetime
    history: Annotated[tuple[ProgressPoint, ...], Field(max_length=64)] = ()
    """Points at even distances over the whole run, at most 64."""


class EvaluationFigures(ApiModel):
    """The held-out rows, rewritten greedily and measured."""

    rows: Annotated[int, Field(ge=0)]
    pass_rate: Share
    """By the training screener, without guards."""
    held_out_pass_rate: Share | None = None
    """STA: by the held-out screener."""
    similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    """SIM: mean cosine of source and paraphrase."""
    fluency: Share | None = None
    """FL: share of the paraphrases that read as a person's sentences."""
    joint: float | None = None
    """J: mean over rows of STA x SIM x FL."""
    style_similarity: float | None = None
    """Mean over rows of STA x SIM, fluency left out: deleting insults does best by it."""
    copy_rate: Share
    empty_rate: Share
    length_ratio: Annotated[float, Field(ge=0)] | None = None
    """Mean over rows of words of the paraphrase to words of the source."""
    novelty: Share | None = None
    """Mean share of a paraphrase's words that its source does not have."""
    screener_agreement: Share | None = None
    """Share of the rows on which training and held-out screener say the same."""


class EvaluationStatus(ApiModel):
    """The same rows before the game (after the warm start) and after it."""

    untrained: EvaluationFigures | None = None
    """Before the warm start, where there is one."""
    before: EvaluationFigures | None = None
    after: EvaluationFigures | None = None


class OutputStatus(ApiModel):
    """What was written."""

    uri: Annotated[str, Field(max_length=512)]
    model: Annotated[str, Field(max_length=512)] | None = None
    """Folder of the final model, once it is written and verified."""


class SROJobStatus(ApiModel):
    """What is known of the job; rebuilt from what is observed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The spec generation that this status speaks of."""
    phase: Phase | None = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    start_time: datetime | None = None
    """When the first attempt was made."""
    completion_time: datetime | None = None
    """When the job completed or failed."""
    attempts: Annotated[
        tuple[AttemptStatus, ...],
        Field(
            max_length=128,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]},
        ),
    ] = ()
    attempt: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Number of the newest attempt."""
    restarts: Annotated[int, Field(ge=0)] | None = None
    """Attempts that counted against `maxRestarts`."""
    disruptions: Annotated[int, Field(ge=0)] | None = None
    """Attempts that were evicted, preempted, deleted or lost with their node; they count against nothing."""
    progress: ProgressStatus | None = None
    output: OutputStatus | None = None
    evaluation: EvaluationStatus | None = None

"""A run from beginning to end: warm start, game, evaluations, checkpoints, result."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import deepspeed
import torch
from transformers import PreTrainedModel

from sro_api.run_config import RunConfig
from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus, ProgressPoint
from sro_trainer.baselines import Infiller, can_infill
from sro_trainer.config import checkpoint_folder, is_uploaded, output_folder, prepare_folders, run_fingerprint
from sro_trainer.distributed import World
from sro_trainer.engine import Course, Engine, build_engine, deepspeed_configuration, release
from sro_trainer.errors import Terminated
from sro_trainer.export import export_model, upload
from sro_trainer.leader import Leader, Snapshot, build_leader
from sro_trainer.loop import StepFigures, game_course, game_step
from sro_trainer.measuring import FOLDER, MASK_INFILL, Evaluations
from sro_trainer.metrics_log import MetricsLog
from sro_trainer.models import LoadedModel, leader_dtype, load_model
from sro_trainer.narration import Narrator
from sro_trainer.plain import PlainPolicy
from sro_trainer.players import Players, build_codec, build_players, leader_locations
from sro_trainer.progress import Reporter
from sro_trainer.reference import reference_weights, renew_reference
from sro_trainer.reporting import build_report, verdicts_used
from sro_trainer.resume import Memory, Vault
from sro_trainer.rollout import rewrite
from sro_trainer.shared_warm_start import (
    Rewrites,
    WarmStartOrigin,
    adopt,
    known_rewrites,
    neighbour,
    origin_of,
    rewrites_key,
    save_rewrites,
)
from sro_trainer.sources_io import ModelLocation
from sro_trainer.termination import StopRequest
from sro_trainer.training_state import TrainingState, mean_with, with_point
from sro_trainer.update import ReferenceCache
from sro_trainer.warm_start import warm_start_course, warm_start_step

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
SCREENERS = "screeners"
"""Folder of the output with what was fitted before the run."""


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """A leader in one stage of a run."""

    leader: Leader
    engine: Engine
    plain: PlainPolicy
    dropout: dict[str, float]
    """The model's own dropout values, which are 0 while it trains."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a run that went to its end leaves."""

    evaluation: EvaluationStatus
    output: OutputStatus


def run(config: RunConfig, world: World, stop: StopRequest, reporter: Reporter) -> Finished:
    """Train as the configuration says, from wherever an earlier attempt got to.

    Raises:
        TrainerError: the run cannot go on; each kind has its exit code.
    """
    prepare_folders(config)
    model_at, tokenizer_at = _located(config, world)
    loaded = load_model(model_at, config.spec.leader, leader_dtype(config.spec.leader, world.device))
    codec = build_codec(config, tokenizer_at, loaded.task, loaded.model.generation_config.eos_token_id)
    output = output_folder(config)
    players = build_players(config, world, codec, cache=output / SCREENERS, neighbour=neighbour(config, SCREENERS))
    vault = Vault(
        folder=checkpoint_folder(config),
        fingerprint=run_fingerprint(config, players.fingerprint),
        keep=config.spec.optimization.keep_checkpoints,
        world=world,
    )
    origin = origin_of(config, loaded, players)
    if config.spec.leader.warm_start_from is not None:
        adopt(vault, config, origin)
    state, checkpoint = vault.find(warm_starts=players.starts_warm)
    metrics = MetricsLog(output / METRICS) if world.is_main else None
    try:
        if metrics is not None:
            metrics.resume_after(state.step, stage=state.stage)
        narrator = Narrator(reporter, metrics, players, attempt=config.attempt)
        narrator.begin("Starting", state)
        session = Session(config, world, stop, players, vault, narrator, output, model_at, loaded, origin)
        if state.stage == "WarmStart":
            state, checkpoint = session.warm_start(state, checkpoint), None
        return session.game(state, checkpoint)
    finally:
        if metrics is not None:
            metrics.close()


class Session:
    """One attempt; its methods are the stages of a run, in their order."""

    def __init__(
        self, config: RunConfig, world: World, stop: StopRequest, players: Players, vault: Vault, narrator: Narrator, output: Path,
        model_at: ModelLocation, loaded: LoadedModel, origin: WarmStartOrigin,
    ) -> None:  # fmt: skip
        self._config = config
        self._world = world
        self._stop = stop
        self._players = players
        self._vault = vault
        self._narrator = narrator
        self._output = output
        self._model_at = model_at
        self._loaded: LoadedModel | None = loaded
        self._origin = origin
        self._evaluations: Evaluations | None = None
        if players.instruments is not None:
            self._evaluations = Evaluations(
                output, config.spec, players.evaluation, players.instruments, players.references
            )

    def warm_start(self, state: TrainingState, checkpoint: Path | None) -> TrainingState:
        """Learn to restore corrupted sentences, and leave the reference behind.

        Returns:
            Where the game begins.
        """
        spec = self._config.spec.leader.warm_start
        assert spec is not None
        trainee = self._trainee(warm_start_course(spec, self._players), snapshot=None, checkpoint=checkpoint)
        if state.evaluation.untrained is None:
            figures = self._measure(trainee, "untrained", state)
            state = state.model_copy(update={"evaluation": EvaluationStatus(untrained=figures)})
            self._narrator.measured(state.evaluation)
        self._narrator.begin("WarmStart", state)
        words = self._players.screener.toxic_words(spec.toxic_words)
        while state.step < spec.steps:
            told = warm_start_step(trainee.engine, self._players, spec, words, step=state.step)
            state = state.model_copy(update={"step": state.step + 1})
            self._narrator.warm_started(told, state)
            self._between_steps(trainee, state, {}, last=spec.steps)
        self._vault.save_reference(_trained_weights(trainee.leader), self._origin)
        _dismiss(trainee)
        return TrainingState(stage="Training", evaluation=state.evaluation)

    def game(self, state: TrainingState, checkpoint: Path | None) -> Finished:
        """Play the game to its last step and write the result."""
        snapshot = self._vault.reference_in(checkpoint)
        if snapshot is None and self._players.starts_warm:
            snapshot = self._vault.reference()
        trainee = self._trainee(game_course(self._players), snapshot=snapshot, checkpoint=checkpoint)
        if state.evaluation.before is None:
            before = self._before(trainee, state)
            state = _with_evaluation(state, before=before)
            self._narrator.measured(state.evaluation)
        self._narrator.begin("Training", state)
        cache, plan = _cache_of(self._vault.memory(checkpoint) if checkpoint else {}), self._config.spec.optimization
        while state.step < self._players.total_steps:
            told = game_step(
                trainee.engine, trainee.plain, cache, self._players, step=state.step, mean_reward=state.mean_reward
            )
            state = _advanced(state, told, total_steps=self._players.total_steps)
            if self._renews_reference and state.step % self._config.spec.method.update_reference_every_steps == 0:
                renew_reference(trainee.leader)
                cache.logps.clear()
            self._narrator.played(told, state)
            memory = {str(row): logps for row, logps in cache.logps.items()}
            self._between_steps(trainee, state, memory, last=self._players.total_steps)
            if (
                plan.evaluate_every_steps
                and state.step % plan.evaluate_every_steps == 0
                and state.step < self._players.total_steps
            ):
                figures = self._measure(trainee, f"step-{state.step}", state)
                self._narrator.measured(state.evaluation.model_copy(update={"after": figures}))
                self._narrator.begin("Training", state)
        return self._finish(trainee, state)

    def _finish(self, trainee: Trainee, state: TrainingState) -> Finished:
        # Without a game nothing has changed since.
        unchanged = self._evaluations is not None and self._players.total_steps == 0
        known = self._evaluations.kept("before") if self._evaluations is not None and unchanged else None
        state = _with_evaluation(
            state, after=self._measure(trainee, "after", state, known=self._world.from_main(known))
        )
        self._narrator.measured(state.evaluation)
        self._narrator.begin("Saving", state)
        adapter = None if self._merges else _trained_weights(trainee.leader)
        model = trainee.plain.refresh()
        finished = None
        if self._world.is_main:
            finished = self._write(model, state, trainee.dropout, adapter)
        self._world.barrier()
        shared = self._world.from_main(finished)
        assert shared is not None
        self._narrator.written(shared.output, state)
        return shared

    def _before(self, trainee: Trainee, state: TrainingState) -> EvaluationFigures:
        """The evaluation before the game; that of the job whose warm start was loaded is measured again, not rewritten."""
        if not self._players.starts_warm:
            return self._measure(trainee, "before", state)
        key, known = "", None
        if self._world.is_main:
            key = rewrites_key(self._config, self._origin, self._vault, self._players.evaluation)
            known = known_rewrites(self._config, key)
        before = self._measure(trainee, "before", state, known=self._world.from_main(known))
        if self._evaluations is not None:
            written = tuple(self._evaluations.kept("before") or ())
            save_rewrites(self._output / FOLDER, Rewrites(key=key, paraphrases=written))
        return before

    @property
    def _renews_reference(self) -> bool:
        return self._config.spec.method.update_reference_every_steps > 0

    @property
    def _merges(self) -> bool:
        adapter = self._config.spec.leader.adapter
        return adapter.type == "Full" or adapter.effective_lora.merge_on_save

    def _write(
        self,
        model: PreTrainedModel,
        state: TrainingState,
        dropout: dict[str, float],
        adapter: Snapshot | None,
    ) -> Finished:
        players, spec = self._players, self._config.spec
        folder = export_model(
            model, players, self._config, self._output, evaluation=state.evaluation, dropout=dropout, adapter=adapter
        )
        uploaded = is_uploaded(self._config)
        output = OutputStatus(
            uri=spec.output.uri, model=f"{spec.output.uri.rstrip('/')}/model" if uploaded else str(folder)
        )
        # Draws by matplotlib, which takes each process more than a second to import: one of them draws, at its end.
        from sro_trainer.html_report import write_html

        assert self._evaluations is not None
        report = build_report(
            self._config.name, self._evaluations, steps=state.step, evaluation=state.evaluation, output=output,
            counts=players.counts, metrics=self._output / METRICS, verdicts=verdicts_used(players),
        )  # fmt: skip
        report.write(self._output)
        write_html(self._output, report, self._evaluations, metrics=self._output / METRICS)
        if uploaded:
            upload(self._output, spec.output.uri)
        return Finished(evaluation=state.evaluation, output=output)

    def _trainee(self, course: Course, *, snapshot: Snapshot | None, checkpoint: Path | None) -> Trainee:
        """Build the leader for a stage; the second stage of an attempt loads the model anew, as a resumed one does."""
        spec, world = self._config.spec, self._world
        dtype = leader_dtype(spec.leader, world.device)
        loaded = self._loaded or load_model(self._model_at, spec.leader, dtype)
        self._loaded = None
        if spec.leader.gradient_checkpointing:
            loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        leader = build_leader(
            loaded.model,
            loaded.task,
            spec.leader.adapter,
            seed=spec.optimization.seed,
            snapshot=snapshot,
            renews_reference=self._renews_reference,
        )
        bfloat16 = spec.leader.adapter.type == "Full" and dtype == torch.bfloat16
        configuration = deepspeed_configuration(spec.deepspeed, course, world_size=world.size, bfloat16=bfloat16)
        engine = build_engine(leader, configuration, course)
        if checkpoint is not None:
            self._vault.restore(engine, leader, checkpoint)
        return Trainee(leader=leader, engine=engine, plain=PlainPolicy(leader), dropout=loaded.dropout)

    def _between_steps(self, trainee: Trainee, state: TrainingState, memory: Memory, *, last: int) -> None:
        """Save where it is time, and stop where that is asked.

        Raises:
            Terminated: after a checkpoint.
        """
        stopping = self._world.any(self._stop.requested)
        if stopping or state.step % self._config.spec.optimization.checkpoint_every_steps == 0 or state.step == last:
            renewed = self._renews_reference and state.stage == "Training"
            reference = reference_weights(trainee.leader) if renewed else None
            self._vault.save(trainee.engine, trainee.leader, state, memory, reference=reference)
            self._narrator.saved(state)
        if stopping:
            raise Terminated(
                f"SIGTERM: stopped after step {state.step} of stage {state.stage}; a checkpoint is written"
            )

    def _measure(
        self, trainee: Trainee, name: str, state: TrainingState, *, known: Sequence[str] | None = None
    ) -> EvaluationFigures:
        """Rewrite the evaluation rows, shared among the ranks; rank 0 measures them.

        Args:
            trainee: the leader.
            name: of the evaluation.
            state: where the run is.
            known: the paraphrases, where they need not be written again; the same on all ranks.
        """
        self._narrator.begin("Evaluating", state)
        model, players = trainee.plain.refresh(), self._players
        written = list(known) if known is not None else self._rewritten(model, players.evaluation)
        figures = None
        if self._evaluations is not None:
            figures = self._evaluations.measure(name, written).figures
            is_untrained = name == "untrained" or (name == "before" and not players.starts_warm)
            if is_untrained and self._evaluations.wants_infill and can_infill(model, players.codec.task):
                infill = Infiller(model, players.codec, self._evaluations.lexicon())
                self._evaluations.measure(MASK_INFILL, infill(players.evaluation))
        shared = self._world.from_main(figures)
        assert shared is not None
        return shared

    def _rewritten(self, model: PreTrainedModel, texts: Sequence[str]) -> list[str]:
        """Greedy paraphrases, a part of them by each rank."""
        limit, size = self._config.spec.leader.max_new_tokens, self._world.size
        mine = texts[self._world.rank :: size]
        parts = self._world.gathered(rewrite(model, self._players.codec, mine, max_new_tokens=limit))
        return [parts[row % size][row // size] for row in range(len(texts))]


def _located(config: RunConfig, world: World) -> tuple[ModelLocation, ModelLocation]:
    """Rank 0 of all fetches first: the others then find the files."""
    if world.is_main:
        located = leader_locations(config)
        world.barrier()
        return located
    world.barrier()
    return leader_locations(config)


def _cache_of(memory: Memory) -> ReferenceCache:
    return ReferenceCache(logps={int(row): logps for row, logps in memory.items()})


def _advanced(state: TrainingState, told: StepFigures, *, total_steps: int) -> TrainingState:
    point = ProgressPoint(step=told.step, loss=told.loss, pass_rate=told.pass_rate)
    mean = mean_with(state.mean_reward, state.rewarded_rows, new_mean=told.reward, new_count=told.rows_in_loss)
    return state.model_copy(
        update={
            "step": told.step,
            "history": with_point(state.history, point, total_steps=total_steps),
            "mean_reward": mean,
            "rewarded_rows": state.rewarded_rows + told.rows_in_loss,
        }
    )


def _with_evaluation(state: TrainingState, **figures: object) -> TrainingState:
    return state.model_copy(update={"evaluation": state.evaluation.model_copy(update=figures)})


def _trained_weights(leader: Leader) -> Snapshot:
    """The policy's trained weights by name, on the host; every rank must ask, since ZeRO-3 gathers them."""
    weights: Snapshot = {}
    for name, parameter in leader.trained().items():
        if hasattr(parameter, "ds_id"):
            with deepspeed.zero.GatheredParameters([parameter]):
                weights[name] = parameter.detach().cpu().clone()
        else:
            weights[name] = parameter.detach().cpu().clone()
    return weights


def _dismiss(trainee: Trainee) -> None:
    """Free a stage's memory before the next one is built."""
    release(trainee.engine)
    gc.collect()

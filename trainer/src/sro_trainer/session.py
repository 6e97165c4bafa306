"""A run from beginning to end: warm start, game, evaluations, checkpoints, result."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import deepspeed
import torch
from transformers import PreTrainedModel

from sro_api.run_config import RunConfig
from sro_api.status import EvaluationStatus, OutputStatus, ProgressPoint
from sro_trainer.config import checkpoint_folder, is_uploaded, output_folder, prepare_folders, run_fingerprint
from sro_trainer.distributed import World
from sro_trainer.engine import Course, Engine, build_engine, deepspeed_configuration, release
from sro_trainer.errors import Terminated
from sro_trainer.evaluation import EvaluationResult, baselines, evaluate, intervals
from sro_trainer.export import export_model, upload
from sro_trainer.leader import Leader, Snapshot, build_leader
from sro_trainer.loop import StepFigures, game_course, game_step
from sro_trainer.metrics_log import MetricsLog
from sro_trainer.models import LoadedModel, leader_dtype, load_model
from sro_trainer.narration import Narrator
from sro_trainer.plain import PlainPolicy
from sro_trainer.players import Players, build_codec, build_players, leader_locations
from sro_trainer.progress import Reporter
from sro_trainer.reference import reference_weights, renew_reference
from sro_trainer.report import RunReport, differences
from sro_trainer.resume import Memory, Vault
from sro_trainer.rollout import rewrite
from sro_trainer.shared_warm_start import (
    Rewrites,
    WarmStartOrigin,
    adopt,
    known_rewrites,
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

EVALUATIONS = "evaluations"
"""Folder of the output with what each evaluation's leader wrote, row by row."""


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
    players = build_players(config, world, codec, cache=output / "screeners")
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
    metrics = MetricsLog(output / "metrics.jsonl") if world.is_main else None
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

    def warm_start(self, state: TrainingState, checkpoint: Path | None) -> TrainingState:
        """Learn to restore corrupted sentences, and leave the reference behind.

        Returns:
            Where the game begins.
        """
        spec = self._config.spec.leader.warm_start
        assert spec is not None
        trainee = self._trainee(warm_start_course(spec, self._players), snapshot=None, checkpoint=checkpoint)
        if state.evaluation.untrained is None:
            figures = self._measure(trainee, "untrained", state).figures
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
            state = _with_evaluation(state, before=before.figures)
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
                figures = self._measure(trainee, f"step-{state.step}", state).figures
                self._narrator.measured(state.evaluation.model_copy(update={"after": figures}))
                self._narrator.begin("Training", state)
        return self._finish(trainee, state)

    def _finish(self, trainee: Trainee, state: TrainingState) -> Finished:
        # Without a game nothing has changed since.
        unchanged = self._remeasured("before") if self._players.total_steps == 0 else None
        after = self._measure(trainee, "after", state, known=unchanged.paraphrases if unchanged else None)
        state = _with_evaluation(state, after=after.figures)
        self._narrator.measured(state.evaluation)
        self._narrator.begin("Saving", state)
        adapter = None if self._merges else _trained_weights(trainee.leader)
        model = trainee.plain.refresh()
        finished = None
        if self._world.is_main:
            finished = self._write(model, state, after, trainee.dropout, adapter)
        self._world.barrier()
        shared = self._world.from_main(finished)
        assert shared is not None
        self._narrator.written(shared.output, state)
        return shared

    def _before(self, trainee: Trainee, state: TrainingState) -> EvaluationResult:
        """The evaluation before the game; that of the job whose warm start was loaded is measured again, not rewritten."""
        if not self._players.starts_warm:
            return self._measure(trainee, "before", state)
        key, known = "", None
        if self._world.is_main:
            key = rewrites_key(self._config, self._origin, self._vault, self._players.evaluation)
            known = known_rewrites(self._config, key)
        before = self._measure(trainee, "before", state, known=self._world.from_main(known))
        if self._world.is_main:
            save_rewrites(self._output / EVALUATIONS, Rewrites(key=key, paraphrases=before.paraphrases))
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
        after: EvaluationResult,
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
        before = self._remeasured("before")
        words = players.screener.toxic_words(136) if spec.screener.type == "NBLogistic" else ()
        measured = baselines(players.evaluation, words, players.screener, players.held_out, players.encoder)
        for name, result in measured.items():
            self._keep(name, result)
        RunReport(
            name=self._config.name,
            steps=state.step,
            evaluation=state.evaluation,
            baselines={name: result.figures for name, result in measured.items()},
            differences=differences(intervals(before, after)) if before is not None else {},
            output=output,
            screener=players.screener.describe(),
            held_out_screener=players.held_out.describe() if players.held_out else None,
            counts=players.counts,
        ).write(self._output)
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
    ) -> EvaluationResult:
        """Rewrite the evaluation rows, shared among the ranks, and measure them.

        Args:
            trainee: the leader.
            name: of the evaluation.
            state: where the run is.
            known: the paraphrases, where they need not be written again; the same on all ranks.
        """
        self._narrator.begin("Evaluating", state)
        model, players, limit = trainee.plain.refresh(), self._players, self._config.spec.leader.max_new_tokens

        def rewrite_all(texts: Sequence[str]) -> list[str]:
            if known is not None:
                return list(known)
            mine = texts[self._world.rank :: self._world.size]
            parts = self._world.gathered(rewrite(model, players.codec, mine, max_new_tokens=limit))
            return [parts[row % self._world.size][row // self._world.size] for row in range(len(texts))]

        result = evaluate(rewrite_all, players.evaluation, players.screener, players.held_out, players.encoder)
        if self._world.is_main:
            self._keep(name, result)
        return result

    def _keep(self, name: str, result: EvaluationResult) -> None:
        folder = self._output / EVALUATIONS
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row, ensure_ascii=False) for row in result.as_rows()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _remeasured(self, name: str) -> EvaluationResult | None:
        """An evaluation of this run or of an earlier attempt, measured again from what was kept; None if nothing was."""
        path, players = self._output / EVALUATIONS / f"{name}.jsonl", self._players
        if not path.exists():
            return None
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if tuple(row["source"] for row in rows) != players.evaluation:
            return None
        kept = [str(row["paraphrase"]) for row in rows]
        return evaluate(lambda _: kept, players.evaluation, players.screener, players.held_out, players.encoder)


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

"""`sro study FILE`: the cells of a study on this machine, in turn or some side by side, each by a trainer of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sro_api import labels
from sro_api.exit_codes import ExitCode
from sro_api.sources import Roots, output_path
from sro_api.study_cells import Cell
from sro_api.study_cli import StudyRequest
from sro_api.v1alpha1 import SROJob
from sro_trainer.config import prepare_folders
from sro_trainer.cores import available_cores
from sro_trainer.errors import ConfigurationError
from sro_trainer.local_run import MADE_BY_A_RUN, LocalRun, Place, missing, plan_job
from sro_trainer.study.outcomes import (
    LOG_FILE,
    OUTCOME_FILE,
    REASON_OTHER,
    REASON_REFUSED,
    REASON_TIME_LIMIT,
    CellState,
    Outcome,
    exit_message,
    folder_of,
    state_of,
)
from sro_trainer.study.report import write_report
from sro_trainer.study.telling import Teller
from sro_trainer.trainer_process import Ending, Order, Stop, stoppable, train

_WEIGHTS = ("model", "checkpoints")
"""What is removed from a finished cell's folder unless the study keeps its models."""


@dataclass(frozen=True, kw_only=True)
class LocalStudy:
    """One start of `sro study` on this machine."""

    request: StudyRequest
    root: Path
    lock: int
    """File descriptor of the study's lock, which every trainer holds, too."""
    stop: Stop
    teller: Teller
    began: float = field(default_factory=time.monotonic)

    @property
    def place(self) -> Place:
        """Where cells read and write."""
        file = self.request.file
        return Place(inputs=file.inputs.resolve(), claims=self.request.claims, manifest=file.study.name)

    @property
    def seconds_left(self) -> float:
        """Of --until-seconds."""
        limit = self.request.until_seconds
        return float("inf") if limit is None else limit - (time.monotonic() - self.began)


def run(request: StudyRequest) -> int:
    """Run what was asked for; the exit code."""
    root = root_of(request)
    try:
        with _locked(root) as lock, stoppable() as stop:
            study = LocalStudy(
                request=request,
                root=root,
                lock=lock,
                stop=stop,
                teller=Teller(request.file.study.name, len(request.wanted), at_once=request.at_once),
            )
            code = _run_cells(study)
    except ConfigurationError as error:
        return refuse(str(error))
    write_report(request, root, sys.stdout)
    return code


def root_of(request: StudyRequest) -> Path:
    """The study's folder on this machine."""
    if request.records is not None:
        return request.records.resolve()
    claims = (request.claims or Path(labels.CLAIM_MOUNT)).resolve()
    return output_path(request.output, Roots(inputs=request.file.inputs, outputs=Path.cwd(), claims=claims))


def refuse(problem: str) -> int:
    """Say what is wrong, line by line."""
    for line in problem.splitlines():
        print(f"sro study: {line}", file=sys.stderr)
    return ExitCode.BAD_CONFIGURATION


@contextmanager
def _locked(root: Path) -> Iterator[int]:
    """One study at a time in a folder; a trainer that outlived its study still holds the lock.

    Raises:
        ConfigurationError: another one is at work there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigurationError(f"spec.output.uri: {root} cannot be written to: {error.strerror}") from error
    try:
        _lock(handle, root)
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, root: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"{root}: another `sro study`, or a trainer that one left running, is at work there"
        ) from error


def _run_cells(study: LocalStudy) -> int:
    request, teller = study.request, study.teller
    wanted = [cell for cell in request.cells if cell.name in request.wanted]
    _refuse_missing(wanted, study)
    if request.fresh:
        for cell in wanted:
            # A part that is started over goes on from the warm start that the other cells had.
            if not (cell.is_warm_start and request.is_partial):
                _forget(folder_of(cell, study.root))
    before = {cell.name: state_of(cell, study.root) for cell in wanted}
    _refuse_others(before)
    todo = [cell for cell in wanted if _is_to_run(before[cell.name].state, again=request.again)]
    teller.begin([state.seconds for state in before.values() if state.state == "Finished"], todo=len(todo))
    _run_all(todo[: request.limit], study)
    return _exit_code(wanted, study.root)


def _run_all(todo: Sequence[Cell], study: LocalStudy) -> None:
    """The warm start that the others share, alone; then `at_once` of them at any time."""
    if todo and todo[0].is_warm_start:
        if _told(todo[0], study) != "Finished":
            return
        todo = todo[1:]
    with ThreadPoolExecutor(max_workers=study.request.at_once) as pool:
        for future in [pool.submit(_told, cell, study) for cell in todo]:
            future.result()


def _told(cell: Cell, study: LocalStudy) -> str | None:
    """The state that a cell ended in, recorded and told; None if the study was stopped before it."""
    if study.stop.asked or study.seconds_left <= 0:
        return None
    folder = folder_of(cell, study.root)
    outcome = _run_cell(cell, study)
    outcome.write(folder)
    study.teller.ended(cell.name, outcome, folder)
    return outcome.state


def _threads(at_once: int) -> dict[str, str]:
    """Each of several cells has its share of the cores, unless the environment says how many threads."""
    if at_once == 1:
        return {}
    share = str(max(1, available_cores() // at_once))
    return {name: os.environ.get(name, share) for name in ("OMP_NUM_THREADS", "SRO_SCREENER_THREADS")}


def _refuse_missing(wanted: list[Cell], study: LocalStudy) -> None:
    """What no cell can do without is said before the first one starts."""
    lacking: dict[str, None] = {}
    for cell in wanted:
        planned = plan_job(SROJob.model_validate(cell.manifest), study.place, look=False)
        lacking |= dict.fromkeys(missing(planned.config))
    if lacking:
        raise ConfigurationError(f"missing: {', '.join(lacking)}; `make setup` installs what is missing")


def _refuse_others(states: Mapping[str, CellState]) -> None:
    """Results of another specification are neither kept as these cells' nor overwritten unasked."""
    others = [name for name, state in states.items() if state.reason == REASON_OTHER]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise ConfigurationError(
            f"{', '.join(others[:3])}{more}: what lies there is a run of another specification; --fresh, with --only for some, "
            "starts over, and --output DIR goes elsewhere"
        )


def _is_to_run(state: str, *, again: bool) -> bool:
    return state in ("Waiting", "Unfinished") or (state == "Failed" and again)


def _run_cell(cell: Cell, study: LocalStudy) -> Outcome:
    folder = folder_of(cell, study.root)
    earlier = Outcome.read(folder)
    # A cell that was stopped goes on with its time; one that failed gets its time anew.
    used = earlier.seconds if earlier and earlier.state == "Unfinished" else 0.0
    tries = earlier.tries + 1 if earlier else 1
    try:
        planned = plan_job(SROJob.model_validate(cell.manifest), study.place)
        prepare_folders(planned.config)
    except ConfigurationError as error:
        return Outcome(
            state="Failed", exit_code=ExitCode.BAD_CONFIGURATION, reason=REASON_REFUSED, message=str(error), tries=tries
        )
    study.teller.started(cell.name, planned)
    began = time.monotonic()
    # What all others need is not cut short for being longer than they are.
    limit = None if cell.is_warm_start else study.request.cell_seconds
    ending, word = _train(cell.name, planned, study, cell_seconds=None if limit is None else max(1.0, limit - used))
    seconds = used + time.monotonic() - began
    outcome = _outcome(ending, word, study, over_limit=limit is not None and seconds >= limit)
    if outcome.state == "Finished" and not study.request.file.study.spec.output.keep_models:
        _remove_weights(folder, keep_checkpoints=cell.is_warm_start)
    return outcome.model_copy(update={"seconds": round(seconds, 1), "tries": tries})


def _train(
    cell: str, planned: LocalRun, study: LocalStudy, *, cell_seconds: float | None
) -> tuple[Ending, tuple[str, str]]:
    """Train one cell; its end, and the reason and message of its last word."""
    planned.prepare()
    word = planned.folder / ".last-word.json"
    word.unlink(missing_ok=True)
    limits = [seconds for seconds in (cell_seconds, study.seconds_left) if seconds not in (None, float("inf"))]
    with (planned.folder / LOG_FILE).open("ab") as log:
        order = Order(
            config_file=planned.config_file,
            log=log,
            environment={"SRO_TERMINATION_LOG": str(word), **_threads(study.request.at_once)},
            held=(study.lock,),
            seconds=min(limits, default=None),
            tick=lambda: study.teller.tick(cell, planned.folder),
        )
        ending = train(order, study.stop)
    return ending, _last_word(word)


def _outcome(ending: Ending, word: tuple[str, str], study: LocalStudy, *, over_limit: bool) -> Outcome:
    reason, message = word
    if ending.code == ExitCode.COMPLETE:
        return Outcome(state="Finished", exit_code=0, reason=reason, message=message)
    asked = bool(study.stop.asked) or (ending.timed_out and not over_limit)
    if asked and (ending.code == ExitCode.TERMINATED or ending.code > 128):
        return Outcome(state="Unfinished", exit_code=ending.code, reason=reason or "Stopped", message=message)
    if ending.timed_out:
        limit = study.request.cell_seconds
        return Outcome(state="Failed", exit_code=ending.code, reason=REASON_TIME_LIMIT,
                       message=f"not finished within {limit:g} s (cellSeconds): {message or exit_message(ending.code)}")  # fmt: skip
    return Outcome(
        state="Failed", exit_code=ending.code, reason=reason or "Error", message=message or exit_message(ending.code)
    )


def _last_word(path: Path) -> tuple[str, str]:
    """Reason and message that the trainer left; empty if it left none."""
    try:
        word = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return "", ""
    return str(word.get("reason", "")), str(word.get("message", ""))


def _remove_weights(folder: Path, *, keep_checkpoints: bool) -> None:
    for name in _WEIGHTS:
        if name != "checkpoints" or not keep_checkpoints:
            shutil.rmtree(folder / name, ignore_errors=True)


def _forget(folder: Path) -> None:
    """Remove what a run made of a cell, and nothing else."""
    for name in (*MADE_BY_A_RUN, OUTCOME_FILE, LOG_FILE):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _exit_code(wanted: list[Cell], root: Path) -> int:
    states = {state_of(cell, root).state for cell in wanted}
    if states & {"Waiting", "Unfinished"}:
        return ExitCode.TERMINATED
    return 1 if "Failed" in states else ExitCode.COMPLETE

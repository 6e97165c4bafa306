"""What the operator does next, for each state: no cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sro_api.status import AttemptStatus, ProgressStatus, SROJobStatus
from sro_operator.observed import AttemptJob, Observed, TrainerPod
from sro_operator.plan import DeleteAttempt, DeleteSelf, KeepRecord, Plan, StartAttempt, next_plan, restart_pause
from sro_operator.settings import OperatorSettings
from sro_operator.status import next_status
from sro_operator.testing import EPOCH, make_job

SETTINGS = OperatorSettings(restart_base_seconds=10, restart_limit_seconds=300)
NOW = EPOCH + timedelta(seconds=100)


def gang(number: int = 1, **facts: object) -> AttemptJob:
    known = AttemptJob(name=f"demo-a{number}", uid="u", resource_version="1", attempt=number, created=EPOCH)
    return replace(known, **facts)  # type: ignore[arg-type]


def ended(number: int = 1, reason: str = "AttemptFailed", seconds: float = 60) -> AttemptStatus:
    end = EPOCH + timedelta(seconds=seconds)
    counted = reason == "AttemptFailed"
    return AttemptStatus(number=number, start_time=EPOCH, end_time=end, reason=reason, counted=counted)


def failed_gang(number: int = 1) -> AttemptJob:
    return gang(number, is_failing=True, finished="Failed", ended=EPOCH + timedelta(seconds=60))


def plan(observed: Observed, status: SROJobStatus | None = None, seconds: float = 100, **spec: object) -> Plan:
    now = EPOCH + timedelta(seconds=seconds)
    job = make_job(status, **spec)
    return next_plan(job, next_status(job, observed, now), observed, now, SETTINGS)


LIVE = TrainerPod(name="p", uid="p", attempt=1, index=0, phase="Running")
BOTH = (LIVE, replace(LIVE, name="q", uid="q", index=1))


def test_a_new_job_starts_its_first_attempt() -> None:
    assert plan(Observed()).actions == (StartAttempt(number=1, resumed_from_step=0, nodes=2),)


def test_a_running_attempt_is_left_alone() -> None:
    assert plan(Observed(jobs=(gang(),), pods=BOTH)) == Plan()


def test_a_running_attempt_is_looked_at_again_at_its_deadline() -> None:
    found = plan(Observed(jobs=(gang(),), pods=BOTH), runPolicy={"activeDeadlineSeconds": 130})
    assert found == Plan(recheck_seconds=30)


@pytest.mark.parametrize(
    ("policy", "seconds"), [({}, 15), ({"startupTimeoutSeconds": 110}, 10)], ids=["no limit", "a limit"]
)
def test_an_attempt_whose_pods_have_not_started_is_looked_at_again(policy: dict[str, int], seconds: float) -> None:
    assert plan(Observed(jobs=(gang(),), pods=(LIVE,)), runPolicy=policy) == Plan(recheck_seconds=seconds)


def test_a_failing_attempt_is_looked_at_again_soon() -> None:
    assert plan(Observed(jobs=(gang(is_failing=True, ended=NOW),), pods=(LIVE,))) == Plan(recheck_seconds=3)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (60, Plan(recheck_seconds=10)),
        (65, Plan(recheck_seconds=5)),
        (70, Plan(actions=(StartAttempt(number=2, resumed_from_step=0, nodes=2),))),
    ],
)
def test_a_failed_attempt_is_followed_after_the_pause(seconds: float, expected: Plan) -> None:
    status = SROJobStatus(attempts=(ended(),))
    assert plan(Observed(jobs=(failed_gang(),)), status, seconds) == expected


@pytest.mark.parametrize(
    "observed",
    [
        Observed(jobs=(failed_gang(),), pods=(LIVE,)),
        Observed(strangers=("demo-a1",)),
        Observed(jobs=(failed_gang(), gang(2, is_deleting=True))),
    ],
    ids=["a pod of the last attempt lives", "an older job's Job is there", "a Job is being deleted"],
)
def test_there_are_never_two_live_attempts(observed: Observed) -> None:
    status = SROJobStatus(attempts=(ended(1), ended(2, "AttemptDisrupted")))
    assert not any(isinstance(action, StartAttempt) for action in plan(observed, status).actions)


@pytest.mark.parametrize(
    ("reasons", "seconds"),
    [
        (["AttemptFailed"], 10),
        (["AttemptFailed"] * 2, 20),
        (["AttemptFailed"] * 5, 160),
        (["AttemptFailed"] * 20, 300),
        (["AttemptFailed", "AttemptFailed", "AttemptDisrupted"], 10),
        (["AttemptFailed", "AttemptDisrupted", "AttemptFailed"], 10),
        (["AttemptFailed", "SuspendedByUser"], 0),
        ([], 0),
    ],
)
def test_each_failure_in_a_row_doubles_the_pause_up_to_the_limit(reasons: list[str], seconds: float) -> None:
    attempts = tuple(ended(number, reason) for number, reason in enumerate(reasons, 1))
    assert restart_pause(attempts, SETTINGS) == seconds


def test_suspension_deletes_the_running_attempt_once() -> None:
    spec: dict[str, Any] = {"runPolicy": {"suspend": True}}
    assert plan(Observed(jobs=(gang(),), pods=(LIVE,)), **spec).actions == (DeleteAttempt(job=gang()),)
    assert plan(Observed(jobs=(gang(is_deleting=True),), pods=(LIVE,)), **spec).actions == ()


def test_a_suspended_job_starts_nothing() -> None:
    assert plan(Observed(), runPolicy={"suspend": True}).actions == ()


def test_a_resumed_job_starts_at_once() -> None:
    status = SROJobStatus(attempts=(ended(1, "SuspendedByUser", seconds=99.5),))
    assert plan(Observed(), status).actions == (StartAttempt(number=2, resumed_from_step=0, nodes=2),)


def test_the_deadline_deletes_the_running_attempt() -> None:
    assert plan(Observed(jobs=(gang(),), pods=(LIVE,)), runPolicy={"activeDeadlineSeconds": 10}).actions == (
        DeleteAttempt(job=gang()),
    )


def test_a_failed_job_starts_nothing_though_its_children_are_gone() -> None:
    last = ended().model_copy(update={"counted": False})
    failed = next_status(make_job(SROJobStatus(attempts=(last,))), Observed(jobs=(failed_gang(),)), NOW)
    assert failed.phase == "Failed"
    assert plan(Observed(), failed, 5000, runPolicy={"maxRestarts": 50}).actions == (KeepRecord(),)
    assert plan(Observed(record=failed.attempts), failed, 5000, runPolicy={"maxRestarts": 50}).actions == ()


def test_what_the_job_controller_already_ends_is_left_to_it_so_that_logs_stay() -> None:
    observed = Observed(jobs=(gang(is_failing=True, failure_message="failed with exit code 65"),), pods=(LIVE,))
    assert plan(observed).actions == ()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(60, Plan(recheck_seconds=30)), (89, Plan(recheck_seconds=1)), (90, Plan(actions=(DeleteSelf(),)))],
)
def test_a_finished_job_is_deleted_after_its_time_to_live(seconds: float, expected: Plan) -> None:
    complete = gang(finished="Complete", ended=EPOCH + timedelta(seconds=60))
    assert plan(Observed(jobs=(complete,)), None, seconds, runPolicy={"ttlSecondsAfterFinished": 30}) == expected


def test_the_jobs_of_old_attempts_are_deleted_and_the_last_few_kept() -> None:
    status = SROJobStatus(attempts=tuple(ended(number) for number in range(1, 5)))
    jobs = tuple(failed_gang(number) for number in range(1, 5))
    actions = plan(Observed(jobs=jobs), status, 5000, runPolicy={"maxRestarts": 9}).actions
    assert actions == (DeleteAttempt(job=jobs[0]), StartAttempt(number=5, resumed_from_step=0, nodes=2))


PROGRESS = ProgressStatus(attempt=1, step=40, total_steps=100, percent=40, last_checkpoint_step=30, updated_at=EPOCH)


@pytest.mark.parametrize(
    ("spec", "step"),
    [
        ({"output": {"uri": "pvc://results/demo"}}, 30),
        ({"output": {"uri": "s3://results/demo", "checkpoints": "pvc://results/demo"}}, 30),
        ({"output": {"uri": "file:out"}, "compute": {}}, 0),
        (
            {
                "output": {"uri": "file:///disk/out"},
                "compute": {
                    "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "c"}}],
                    "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
                },
            },
            30,
        ),
    ],
    ids=["on a claim", "checkpoints on a claim", "in the pod's scratch", "on a volume of the spec"],
)
def test_an_attempt_resumes_from_the_last_checkpoint_that_outlives_its_pod(spec: dict[str, Any], step: int) -> None:
    status = SROJobStatus(attempts=(ended(),), progress=PROGRESS)
    nodes = spec.get("compute", {"nodes": 2}).get("nodes", 1)
    assert plan(Observed(), status, **spec).actions == (StartAttempt(number=2, resumed_from_step=step, nodes=nodes),)


SHORT = AttemptStatus(
    number=1, start_time=EPOCH, end_time=EPOCH + timedelta(seconds=60), reason="NodesShort", nodes=2, next_nodes=1
)


def test_an_attempt_that_was_superseded_is_deleted_first() -> None:
    found = gang()
    status = SROJobStatus(attempts=(SHORT,))
    pods = (LIVE, replace(LIVE, name="q", uid="q", index=1, phase="Pending"))
    observed = Observed(jobs=(found,), pods=pods)
    assert plan(observed, status).actions == (DeleteAttempt(job=found),)
    going = Observed(jobs=(replace(found, is_deleting=True),), pods=pods)
    assert plan(going, status).actions == ()


def test_its_place_is_taken_at_once_by_one_of_fewer_pods() -> None:
    assert plan(Observed(record=(SHORT,)), SROJobStatus(attempts=(SHORT,)), seconds=60).actions == (
        StartAttempt(number=2, resumed_from_step=0, nodes=1),
    )


def test_an_attempt_after_a_smaller_one_asks_for_all_nodes_again() -> None:
    attempts = (SHORT, ended(2, "AttemptDisrupted"))
    assert plan(Observed(record=attempts), SROJobStatus(attempts=attempts)).actions == (
        StartAttempt(number=3, resumed_from_step=0, nodes=2),
    )


def test_an_attempt_short_of_nodes_is_looked_at_again_when_it_may_shrink() -> None:
    pods = (LIVE, replace(LIVE, name="q", uid="q", index=1, phase="Pending", waiting="Unschedulable: x"))
    size = {"nodes": 2, "minNodes": 1, "shrinkAfterSeconds": 107}
    assert plan(Observed(jobs=(gang(),), pods=pods), compute=size) == Plan(recheck_seconds=7)

"""Tables `observed -> status`: no cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from sro_api.admission import validate_manifest
from sro_api.status import AttemptStatus, PodExit, SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.observed import AttemptJob, Observed, Refusal, TerminationNote, TrainerPod
from sro_operator.status import invalid_status, is_finished, next_status
from sro_operator.testing import EPOCH, make_job, make_manifest

ENDED = EPOCH + timedelta(seconds=60)
NOW = EPOCH + timedelta(seconds=100)


def gang(number: int = 1, **facts: object) -> AttemptJob:
    known = AttemptJob(
        name=f"demo-a{number}", uid=f"u{number}", resource_version="1", attempt=number, created=EPOCH, started=EPOCH
    )
    return replace(known, **facts)  # type: ignore[arg-type]


def failed_gang(number: int = 1, message: str = "Job has reached the specified backoff limit") -> AttemptJob:
    return gang(number, is_failing=True, finished="Failed", ended=ENDED, failure_message=message)


def pod(index: int, phase: str = "Running", code: int | None = None, attempt: int = 1, **facts: object) -> TrainerPod:
    ended = None if code is None else PodExit(index=index, exit_code=code, reason="Error", message="the cause")
    known = TrainerPod(
        name=f"p{index}", uid=f"p{attempt}{index}", attempt=attempt, index=index, phase=phase, exit=ended
    )
    return replace(known, **facts)  # type: ignore[arg-type]


def said(status: SROJobStatus) -> dict[str, str]:
    return {entry.type: entry.reason for entry in status.conditions if entry.status == "True"}


BOTH_RUN = (pod(0), pod(1))

TABLE = {
    "nothing exists yet": (Observed(), "Accepted", "SpecAccepted"),
    "an older job's children linger": (Observed(strangers=("demo-a1",)), "Accepted", "SpecAccepted"),
    "no pod yet": (Observed(jobs=(gang(),)), "Queued", "PodsPending"),
    "one pod of two runs": (Observed(jobs=(gang(),), pods=(pod(0), pod(1, "Pending"))), "Queued", "PodsPending"),
    "a queue holds the Job": (Observed(jobs=(gang(is_suspended=True),)), "Queued", "HeldByQueue"),
    "both pods run": (Observed(jobs=(gang(),), pods=BOTH_RUN), "Running", "PodsRunning"),
    "one is done, one runs": (Observed(jobs=(gang(),), pods=(pod(0, "Succeeded", 0), pod(1))), "Running", "PodsRunning"),
    "a pod failed, others still end": (
        Observed(jobs=(gang(is_failing=True),), pods=(pod(0, "Failed", 1), pod(1, is_deleting=True))),
        "Restarting",
        "AttemptFailed",
    ),
    "a pod failed": (Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 1),)), "Restarting", "AttemptFailed"),
    "a pod was evicted": (
        Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 76, is_disrupted=True),)),
        "Restarting",
        "AttemptDisrupted",
    ),
    "the Job says disruption and its pod is gone": (
        Observed(jobs=(failed_gang(message="Pod x has condition DisruptionTarget matching FailJob rule at index 0"),)),
        "Restarting",
        "AttemptDisrupted",
    ),
    "a pod was asked to stop": (
        Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 76),)),
        "Restarting",
        "AttemptDisrupted",
    ),
    "a pod was deleted by hand": (
        Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 137, is_deleting=True),)),
        "Restarting",
        "AttemptDisrupted",
    ),
    "the image cannot be pulled": (
        Observed(jobs=(gang(),), pods=(pod(0), pod(1, "Pending", waiting="ImagePullBackOff: not found"))),
        "Queued",
        "ImageUnavailable",
    ),
    "no node takes a pod": (
        Observed(jobs=(gang(),), pods=(pod(0), pod(1, "Pending", waiting="Unschedulable: 0/3 nodes"))),
        "Queued",
        "PodsUnschedulable",
    ),
    "a Secret is missing": (
        Observed(jobs=(gang(),), pods=(pod(0, "Pending", waiting="CreateContainerConfigError: secret"),)),
        "Queued",
        "PodConfigInvalid",
    ),
    "the pods are refused": (Observed(jobs=(gang(),), pods_refused="exceeded quota"), "Queued", "PodsRefused"),
    "a pod was killed for its memory": (
        Observed(
            jobs=(failed_gang(),),
            pods=(pod(0, "Failed", 1), pod(1, "Failed", exit=PodExit(index=1, exit_code=137, reason="OOMKilled"))),
        ),
        "Restarting",
        "OutOfMemory",
    ),
    "the configuration is bad": (Observed(jobs=(failed_gang(),), pods=(pod(1, "Failed", 64),)), "Failed", "BadConfiguration"),
    "the data are bad": (Observed(jobs=(failed_gang(),), pods=(pod(1, "Failed", 65),)), "Failed", "BadData"),
    "the loss diverged on one rank and the others crashed": (
        Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 1), pod(1, "Failed", 66))),
        "Failed",
        "LossDiverged",
    ),
    "a final code fails the job before the other pods are gone": (
        Observed(jobs=(gang(is_failing=True),), pods=(pod(0, "Failed", 65), pod(1, is_deleting=True))),
        "Failed",
        "BadData",
    ),
    "only the Job's condition still tells the code": (
        Observed(jobs=(failed_gang(message="Container trainer for pod team/x failed with exit code 65 matching FailJob rule"),)),
        "Failed",
        "BadData",
    ),
    "all pods completed": (
        Observed(jobs=(gang(finished="Complete", ended=ENDED),), pods=(pod(0, "Succeeded", 0), pod(1, "Succeeded", 0))),
        "Complete",
        "TrainingComplete",
    ),
    "the Job was refused for good": (
        Observed(refusal=Refusal(message="Job demo-a1 was refused: affinity", is_permanent=True)),
        "Failed",
        "BadConfiguration",
    ),
    "the Job was refused by a quota": (
        Observed(refusal=Refusal(message="exceeded quota", is_permanent=False)),
        "Accepted",
        "SpecAccepted",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("observed", "phase", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_observed_decides_the_phase_and_its_reason(observed: Observed, phase: str, reason: str) -> None:
    status = next_status(make_job(), observed, NOW)
    assert status.phase == phase
    assert said(status) == {"Accepted": "SpecAccepted", phase: reason}


@pytest.mark.parametrize(("observed", "phase", "reason"), TABLE.values(), ids=TABLE)
def test_the_same_observation_twice_says_the_same(observed: Observed, phase: str, reason: str) -> None:
    first = next_status(make_job(), observed, NOW)
    assert next_status(make_job(first), observed, NOW + timedelta(hours=1)) == first


def test_every_condition_is_there_from_the_start_and_only_two_are_true() -> None:
    status = next_status(make_job(), Observed(jobs=(gang(),)), NOW)
    kinds = [entry.type for entry in status.conditions]
    assert kinds == ["Accepted", "Queued", "Running", "Suspended", "Restarting", "Complete", "Failed"]
    assert {entry.observed_generation for entry in status.conditions} == {1}


def test_a_transition_time_moves_only_with_its_status() -> None:
    queued = next_status(make_job(), Observed(jobs=(gang(),)), NOW)
    later = NOW + timedelta(seconds=30)
    running = next_status(make_job(queued), Observed(jobs=(gang(),), pods=BOTH_RUN), later)
    moved = {entry.type for entry in running.conditions if entry.last_transition_time == later}
    assert moved == {"Queued", "Running"}


def test_a_pending_gang_says_why_its_pod_waits() -> None:
    pods = (pod(0), pod(1, "Pending", waiting="Unschedulable: 0/3 nodes are available"))
    status = next_status(make_job(), Observed(jobs=(gang(),), pods=pods), NOW)
    message = next(entry.message for entry in status.conditions if entry.type == "Queued")
    assert message == "1 of 2 pods of attempt 1 started; p1: Unschedulable: 0/3 nodes are available"


def test_a_failed_attempt_is_recorded_with_its_exits_and_counts() -> None:
    observed = Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 137), pod(1, "Failed", 76, is_deleting=True)))
    (attempt,) = next_status(make_job(), observed, NOW).attempts
    assert attempt == AttemptStatus(
        number=1,
        start_time=EPOCH,
        end_time=ENDED,
        reason="AttemptFailed",
        message="pod p0 exited with 137, Error: the cause",
        exits=(PodExit(index=0, exit_code=137, reason="Error", message="the cause"),),
        counted=True,
        nodes=2,
    )


def test_exits_once_recorded_outlive_their_pods() -> None:
    with_pods = Observed(jobs=(gang(is_failing=True),), pods=(pod(1, "Failed", 137),))
    before = next_status(make_job(), with_pods, NOW)
    after = next_status(make_job(before), Observed(jobs=(failed_gang(),)), NOW)
    assert [entry.exit_code for entry in after.attempts[0].exits] == [137]


def test_the_cause_of_a_failure_is_waited_for_a_little_before_it_is_counted() -> None:
    job, unexplained = make_job(runPolicy={"maxRestarts": 0}), Observed(jobs=(failed_gang(),))
    early = next_status(job, unexplained, ENDED + timedelta(seconds=2))
    assert (early.phase, early.attempts[0].end_time) == ("Restarting", None)
    assert next_status(job, unexplained, ENDED + timedelta(seconds=3)).phase == "Failed"
    explained = Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 76, is_deleting=True),))
    assert (
        next_status(make_job(early, runPolicy={"maxRestarts": 0}), explained, NOW).attempts[0].reason
        == "AttemptDisrupted"
    )


@pytest.mark.parametrize(
    ("code", "reason"), [(76, "AttemptDisrupted"), (143, "AttemptDisrupted"), (1, "AttemptFailed")]
)
def test_a_cause_on_record_counts_once_its_pod_is_gone(code: int, reason: str) -> None:
    ending = Observed(jobs=(gang(is_failing=True),), pods=(pod(1, "Failed", code, is_deleting=True),))
    before = next_status(make_job(), ending, NOW)
    after = next_status(make_job(before), Observed(jobs=(failed_gang(),)), NOW)
    assert (after.attempts[0].reason, after.attempts[0].message) == (
        reason,
        f"pod 1 exited with {code}, Error: the cause",
    )


def test_the_last_failure_uses_up_no_restart_and_fails_the_job() -> None:
    first = next_status(make_job(), Observed(jobs=(failed_gang(1),), pods=(pod(0, "Failed", 1),)), NOW)
    job = make_job(first, runPolicy={"maxRestarts": 1})
    pods = (pod(0, "Failed", 1), pod(0, "Failed", 1, attempt=2))
    status = next_status(job, Observed(jobs=(failed_gang(1), failed_gang(2)), pods=pods), NOW)
    assert said(status)["Failed"] == "MaxRestartsExceeded"
    assert (status.restarts, [attempt.counted for attempt in status.attempts]) == (1, [True, False])


def test_a_job_without_restarts_fails_with_its_first_failure_but_not_with_a_disruption() -> None:
    job = make_job(runPolicy={"maxRestarts": 0})
    failure = Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 1),))
    disruption = Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 1, is_disrupted=True),))
    assert next_status(job, failure, NOW).phase == "Failed"
    assert next_status(job, disruption, NOW).phase == "Restarting"


def test_an_attempt_found_in_the_cluster_is_recorded_though_no_status_tells_of_it() -> None:
    observed = Observed(jobs=(failed_gang(1), gang(2, resumed_from_step=30)), pods=(pod(0, "Failed", 1),))
    status = next_status(make_job(), observed, NOW)
    assert [(entry.number, entry.resumed_from_step, entry.counted) for entry in status.attempts] == [
        (1, 0, True),
        (2, 30, False),
    ]
    assert (status.attempt, status.restarts, status.start_time) == (2, 1, EPOCH)


def test_a_finished_job_stays_as_it_is_whatever_is_done_to_its_children() -> None:
    job = make_job()
    complete = next_status(job, Observed(jobs=(gang(finished="Complete", ended=ENDED),)), NOW)
    for observed in (Observed(), Observed(jobs=(failed_gang(),)), Observed(jobs=(gang(2),))):
        assert next_status(make_job(complete), observed, NOW + timedelta(days=1)) == complete
    assert is_finished(complete)


def test_a_change_after_the_end_moves_the_observed_generation_alone() -> None:
    complete = next_status(make_job(), Observed(jobs=(gang(finished="Complete", ended=ENDED),)), NOW)
    job = make_job(complete)
    job.metadata["generation"] = 2
    status = next_status(job, Observed(), NOW)
    assert status.observed_generation == 2
    assert said(status) == said(complete)


def test_completion_takes_output_and_evaluation_from_rank_0() -> None:
    figures = {"rows": 8, "passRate": 0.5, "copyRate": 0, "emptyRate": 0}
    note = TerminationNote(evaluation={"before": figures}, output={"uri": "pvc://results/demo", "model": "/m"})
    pods = (pod(0, "Succeeded", 0, note=note), pod(1, "Succeeded", 0, note=TerminationNote()))
    status = next_status(make_job(), Observed(jobs=(gang(finished="Complete", ended=ENDED),), pods=pods), NOW)
    assert status.output is not None
    assert status.output.model == "/m"
    assert status.evaluation is not None
    assert status.evaluation.before is not None
    assert status.evaluation.before.pass_rate == 0.5
    assert status.completion_time == ENDED


def test_a_note_that_cannot_be_read_does_not_spoil_completion() -> None:
    note = TerminationNote(evaluation={"before": "well"}, output={"folder": 1})
    observed = Observed(jobs=(gang(finished="Complete", ended=ENDED),), pods=(pod(0, "Succeeded", 0, note=note),))
    status = next_status(make_job(), observed, NOW)
    assert (status.phase, status.evaluation) == ("Complete", None)
    assert status.output is not None
    assert status.output.uri == "pvc://results/demo"


@pytest.mark.parametrize(
    ("observed", "phase", "reason"),
    [
        (Observed(), "Suspended", "SuspendedByUser"),
        (Observed(jobs=(gang(),), pods=BOTH_RUN), "Running", "PodsRunning"),
        (Observed(jobs=(gang(),), pods=(pod(0, "Pending"),)), "Suspended", "SuspendedByUser"),
        (Observed(jobs=(gang(finished="Complete", ended=ENDED),)), "Complete", "TrainingComplete"),
    ],
    ids=["no pods", "pods still write their checkpoint", "pods never ran", "completed before it was stopped"],
)
def test_a_job_told_to_suspend_says_so_once_no_pod_runs(observed: Observed, phase: str, reason: str) -> None:
    status = next_status(make_job(runPolicy={"suspend": True}), observed, NOW)
    assert (status.phase, said(status)[phase]) == (phase, reason)


def test_an_attempt_ended_by_suspension_does_not_count_and_the_next_says_resumed() -> None:
    running = next_status(make_job(), Observed(jobs=(gang(),), pods=BOTH_RUN), EPOCH)
    suspended = next_status(make_job(running, runPolicy={"suspend": True}), Observed(), NOW)
    assert (suspended.attempts[0].reason, suspended.restarts) == ("SuspendedByUser", 0)
    resumed = next_status(make_job(suspended), Observed(jobs=(gang(2),)), NOW)
    (entry,) = [entry for entry in resumed.conditions if entry.type == "Suspended"]
    assert (resumed.phase, entry.status, entry.reason) == ("Queued", "False", "ResumedByUser")


def test_an_attempt_after_a_failure_says_started_and_does_not_claim_to_be_resumed() -> None:
    observed = Observed(jobs=(failed_gang(1), gang(2)), pods=(pod(0, "Failed", 1),))
    false = {
        entry.type: entry.reason
        for entry in next_status(make_job(), observed, NOW).conditions
        if entry.status == "False"
    }
    assert (false["Restarting"], false["Suspended"]) == ("AttemptStarted", "PodsPending")


@pytest.mark.parametrize(("limit", "phase"), [(99, "Failed"), (100, "Failed"), (101, "Running")])
def test_the_deadline_counts_the_seconds_of_the_running_attempt(limit: int, phase: str) -> None:
    job = make_job(runPolicy={"activeDeadlineSeconds": limit})
    status = next_status(job, Observed(jobs=(gang(),), pods=BOTH_RUN), NOW)
    assert status.phase == phase
    if phase == "Failed":
        assert said(status)["Failed"] == "DeadlineExceeded"
        assert (status.attempts[0].end_time, status.attempts[0].reason) == (NOW, "DeadlineExceeded")


def test_time_between_attempts_does_not_count_towards_the_deadline() -> None:
    first = next_status(make_job(), Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 1),)), NOW)
    start = EPOCH + timedelta(seconds=1000)
    job = make_job(first, runPolicy={"activeDeadlineSeconds": 100})
    second = Observed(
        jobs=(failed_gang(), gang(2, created=start, started=start)), pods=(pod(0, attempt=2), pod(1, attempt=2))
    )
    assert next_status(job, second, start + timedelta(seconds=39)).phase == "Running"
    assert next_status(job, second, start + timedelta(seconds=40)).phase == "Failed"


def test_an_attempt_whose_job_vanished_ends_only_when_its_pods_are_gone() -> None:
    running = next_status(make_job(), Observed(jobs=(gang(),), pods=BOTH_RUN), EPOCH)
    winding_down = next_status(make_job(running), Observed(pods=BOTH_RUN), NOW)
    assert (winding_down.phase, winding_down.attempts[0].end_time) == ("Restarting", None)
    gone = next_status(make_job(winding_down), Observed(), NOW)
    assert (gone.attempts[0].reason, gone.attempts[0].counted) == ("AttemptDisrupted", False)


def test_a_spec_that_cannot_be_read_is_not_accepted_and_keeps_the_rest() -> None:
    running = next_status(make_job(), Observed(jobs=(gang(),), pods=BOTH_RUN), EPOCH)
    status = invalid_status(running, 3, "spec.leader.model: is missing", NOW)
    accepted = status.conditions[0]
    assert (accepted.type, accepted.status, accepted.reason) == ("Accepted", "False", "SpecInvalid")
    assert accepted.message == "spec.leader.model: is missing"
    assert len(status.conditions) == 7


@pytest.mark.parametrize(("limit", "phase"), [(99, "Failed"), (101, "Queued")])
def test_pods_that_do_not_start_in_time_fail_the_job_and_say_why(limit: int, phase: str) -> None:
    job = make_job(runPolicy={"startupTimeoutSeconds": limit})
    pods = (pod(0), pod(1, "Pending", waiting="Unschedulable: 0/3 nodes are available"))
    status = next_status(job, Observed(jobs=(gang(),), pods=pods), NOW)
    assert status.phase == phase
    if phase == "Failed":
        (failed,) = [entry for entry in status.conditions if entry.type == "Failed"]
        why = "1 of 2 pods of attempt 1 started; p1: Unschedulable: 0/3 nodes are available"
        assert (failed.reason, failed.message) == (
            "StartupTimeout",
            f"{why}, after 99 s, spec.runPolicy.startupTimeoutSeconds",
        )
        assert (status.attempts[0].end_time, status.attempts[0].reason) == (NOW, "StartupTimeout")


def test_the_startup_limit_does_not_run_while_a_queue_holds_the_job() -> None:
    job = make_job(runPolicy={"startupTimeoutSeconds": 1})
    assert next_status(job, Observed(jobs=(gang(is_suspended=True),)), NOW).phase == "Queued"


def test_a_pod_killed_for_its_memory_counts_and_says_what_to_do() -> None:
    killed = pod(0, "Failed", exit=PodExit(index=0, exit_code=137, reason="OOMKilled"))
    status = next_status(make_job(), Observed(jobs=(failed_gang(),), pods=(killed,)), NOW)
    (attempt,) = status.attempts
    assert (attempt.reason, attempt.counted, status.restarts) == ("OutOfMemory", True, 1)
    assert attempt.message is not None
    assert attempt.message.endswith("raise spec.compute.resources.limits.memory, or lower spec.optimization.batchSize")


def test_disruptions_are_counted_apart_from_restarts() -> None:
    pods = (pod(0, "Failed", 76, is_disrupted=True), pod(0, "Failed", 1, attempt=2))
    status = next_status(make_job(), Observed(jobs=(failed_gang(1), failed_gang(2)), pods=pods), NOW)
    assert (status.disruptions, status.restarts) == (1, 1)


def test_of_more_attempts_than_a_status_holds_the_oldest_that_count_for_nothing_go() -> None:
    def ended(number: int) -> AttemptStatus:
        reason = "AttemptFailed" if number == 1 else "AttemptDisrupted"
        return AttemptStatus(number=number, start_time=EPOCH, end_time=EPOCH, reason=reason, counted=number == 1)

    job = make_job(SROJobStatus(attempts=tuple(ended(number) for number in range(1, 129))))
    status = next_status(job, Observed(jobs=(gang(129),)), NOW)
    assert [entry.number for entry in status.attempts][:2] == [1, 3]
    assert (len(status.attempts), status.restarts) == (128, 1)


def test_the_brief_record_does_not_take_the_place_of_what_job_and_pods_tell() -> None:
    observed = Observed(jobs=(failed_gang(),), pods=(pod(0, "Failed", 137),))
    running = next_status(make_job(), Observed(jobs=(gang(),), pods=BOTH_RUN), EPOCH)
    brief = AttemptStatus(number=1, start_time=EPOCH, end_time=ENDED, reason="AttemptFailed", counted=True)
    for before in (running, SROJobStatus()):
        (attempt,) = next_status(make_job(before), replace(observed, record=(brief,)), NOW).attempts
        assert [entry.message for entry in attempt.exits] == ["the cause"]


def short_of_nodes(placed: int, *, seconds: int = 99, is_suspended: bool = False) -> SROJobStatus:
    """Of a gang of which some pods have a node and run, and the others have none."""
    job = make_job(
        compute={"nodes": 4, "minNodes": 1, "shrinkAfterSeconds": seconds},
        optimization={"batchSize": 8, "steps": 5},
    )
    pods = tuple(
        pod(index) if index < placed else pod(index, "Pending", waiting="Unschedulable: 0/3 nodes are available")
        for index in range(4)
    )
    return next_status(job, Observed(jobs=(gang(is_suspended=is_suspended),), pods=pods), NOW)


@pytest.mark.parametrize(
    ("placed", "following"), [(4, None), (3, 2), (2, 2), (1, 1), (0, None)],
    ids=["all", "three do not divide the batch", "two", "one", "fewer than the least"],
)  # fmt: skip
def test_an_attempt_gives_way_to_one_of_as_many_pods_as_there_are_nodes(placed: int, following: int | None) -> None:
    status = short_of_nodes(placed)
    (attempt,) = status.attempts
    assert (attempt.nodes, attempt.next_nodes) == (4, following)
    if following is None:
        assert attempt.end_time is None
        return
    assert said(status) == {"Accepted": "SpecAccepted", "Restarting": "NodesShort"}
    assert (attempt.reason, attempt.counted, attempt.end_time) == ("NodesShort", False, NOW)
    assert attempt.message == (
        f"{placed} of 4 pods of attempt 1 started; p{placed}: Unschedulable: 0/3 nodes are available, after 99 s, "
        f"spec.compute.shrinkAfterSeconds; the next attempt has {following} pods"
    )
    assert (status.restarts, status.disruptions) == (0, 0)


@pytest.mark.parametrize(("seconds", "is_suspended"), [(101, False), (99, True)], ids=["too early", "a queue holds it"])
def test_an_attempt_is_not_shrunk_before_its_time(seconds: int, is_suspended: bool) -> None:
    status = short_of_nodes(2, seconds=seconds, is_suspended=is_suspended)
    assert (status.phase, status.attempts[0].end_time) == ("Queued", None)


def test_without_a_minimum_an_attempt_waits_for_all_its_nodes() -> None:
    pods = (pod(0), pod(1, "Pending", waiting="Unschedulable: 0/3 nodes are available"))
    assert next_status(make_job(), Observed(jobs=(gang(),), pods=pods), NOW + timedelta(days=9)).phase == "Queued"


def test_a_smaller_attempt_is_up_with_as_many_pods_as_it_has() -> None:
    short = SROJobStatus(
        attempts=(AttemptStatus(number=1, start_time=EPOCH, end_time=ENDED, reason="NodesShort", next_nodes=1),)
    )
    job = make_job(short, compute={"nodes": 2, "minNodes": 1})
    running = next_status(job, Observed(jobs=(gang(2, nodes=1),), pods=(pod(0, attempt=2),)), NOW)
    assert (running.phase, running.attempts[1].nodes) == ("Running", 1)
    # Its Job's size is not taken at its word: somebody may have edited it.
    edited = next_status(job, Observed(jobs=(gang(2, nodes=2),), pods=(pod(0, attempt=2),)), NOW)
    assert (edited.phase, edited.attempts[1].nodes) == ("Running", 1)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("warm_start", [None, {"steps": 5, "batchSize": 12}])
def test_an_attempt_shrinks_to_what_admission_would_let_the_job_ask_for(
    processes: int, warm_start: dict[str, int] | None
) -> None:
    def manifest(nodes: int) -> dict[str, object]:
        compute = {"nodes": nodes, "processesPerNode": processes, "minNodes": 1, "shrinkAfterSeconds": 99}
        leader = {"model": "pvc://models/leader", **({"warmStart": warm_start} if warm_start else {})}
        optimization = {"batchSize": 24, "steps": 5, "gradientAccumulationSteps": 2}
        return make_manifest(compute=compute, leader=leader, optimization=optimization)

    def admitted(nodes: int) -> bool:
        return not validate_manifest(json.dumps(manifest(nodes)))

    job = SROJob.model_validate(manifest(12 // processes if warm_start is None else 6))
    for placed in range(1, job.spec.compute.nodes):
        pods = tuple(
            pod(index) if index < placed else pod(index, "Pending", waiting="Unschedulable: no")
            for index in range(job.spec.compute.nodes)
        )
        (attempt,) = next_status(job, Observed(jobs=(gang(),), pods=pods), NOW).attempts
        assert attempt.next_nodes == max(nodes for nodes in range(1, placed + 1) if admitted(nodes))

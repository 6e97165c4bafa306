"""What the watches have shown."""

from __future__ import annotations

from dataclasses import replace

from sro_api.status import PodExit
from sro_operator.keys import Key
from sro_operator.memory import PodMemory, WatchAudit
from sro_operator.observed import TrainerPod

KEY = Key(namespace="n", name="a")
POD = TrainerPod(name="p", uid="p", attempt=1, index=0, phase="Running")
DEAD = replace(POD, exit=PodExit(index=0, exit_code=137))


def test_only_a_sight_that_differs_is_news() -> None:
    memory = PodMemory()
    assert memory.note(KEY, POD, is_gone=False)
    assert not memory.note(KEY, POD, is_gone=False)
    assert memory.note(KEY, DEAD, is_gone=False)
    assert memory.note(KEY, DEAD, is_gone=True)


def test_a_pod_seen_to_end_is_known_after_it_is_gone_and_one_that_lived_is_not() -> None:
    memory = PodMemory()
    memory.note(KEY, DEAD, is_gone=False)
    memory.note(KEY, replace(POD, uid="q"), is_gone=False)
    memory.note(KEY, replace(POD, uid="q"), is_gone=True)
    assert memory.completed(KEY, []) == [replace(DEAD, phase="Failed")]
    assert memory.completed(KEY, [DEAD]) == [DEAD]


def test_the_pods_of_earlier_attempts_and_of_gone_jobs_are_forgotten() -> None:
    memory = PodMemory()
    memory.note(KEY, DEAD, is_gone=True)
    memory.note(KEY, replace(DEAD, uid="q", attempt=2), is_gone=True)
    memory.forget(KEY, before_attempt=2)
    assert [pod.uid for pod in memory.completed(KEY, [])] == ["q"]
    memory.forget(KEY)
    assert memory.completed(KEY, []) == []


def test_a_watch_that_keeps_up_owes_nothing() -> None:
    audit = WatchAudit()
    audit.seen("u", "10")
    audit.listed({"u": "10"}, now=100)
    assert audit.lag_seconds(200) == 0


def test_a_watch_that_missed_a_change_owes_it_until_it_delivers_that_or_a_later_one() -> None:
    audit = WatchAudit()
    audit.seen("u", "10")
    audit.listed({"u": "12", "v": "11"}, now=100)
    audit.listed({"u": "15", "v": "11"}, now=130)
    assert audit.lag_seconds(150) == 50
    audit.seen("v", "11")
    audit.seen("u", "11")
    assert audit.lag_seconds(150) == 50
    audit.seen("u", "15")
    assert audit.lag_seconds(150) == 0


def test_a_deleted_object_is_owed_no_more() -> None:
    audit = WatchAudit()
    audit.listed({"u": "12", "v": "13"}, now=100)
    audit.deleted("u")
    audit.listed({}, now=110)
    assert audit.lag_seconds(200) == 0

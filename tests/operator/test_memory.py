"""What the watches have shown."""

from __future__ import annotations

from dataclasses import replace

from sro_api.status import PodExit
from sro_operator.keys import Key
from sro_operator.memory import PodMemory
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

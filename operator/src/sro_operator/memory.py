"""What the watches have shown, kept for what a later read can no longer tell. Losing it loses no correctness."""

from __future__ import annotations

from dataclasses import replace

from sro_operator.keys import Key
from sro_operator.observed import TrainerPod


class PodMemory:
    """The last sight of each pod: how a pod ended is known here even after the pod is gone."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._pods: dict[Key, dict[str, TrainerPod]] = {}

    def note(self, key: Key, pod: TrainerPod, *, is_gone: bool) -> bool:
        """Keep a sight of a pod; whether it differs from the last one."""
        pods = self._pods.setdefault(key, {})
        before = pods.get(pod.uid)
        if is_gone and pod.exit is None:
            pods.pop(pod.uid, None)
            return True
        pods[pod.uid] = pod
        return is_gone or before != pod

    def completed(self, key: Key, present: list[TrainerPod]) -> list[TrainerPod]:
        """The pods present and those that were seen to end and are gone."""
        here = {pod.uid for pod in present}
        gone = [pod for uid, pod in self._pods.get(key, {}).items() if uid not in here and pod.exit is not None]
        return present + [replace(pod, phase=_final_phase(pod)) for pod in gone]

    def forget(self, key: Key, before_attempt: int | None = None) -> None:
        """Forget a job's pods: all of them, or those of attempts before this one."""
        if before_attempt is None:
            self._pods.pop(key, None)
            return
        pods = self._pods.get(key, {})
        self._pods[key] = {uid: pod for uid, pod in pods.items() if pod.attempt >= before_attempt}


def _final_phase(pod: TrainerPod) -> str:
    return "Succeeded" if pod.exit is not None and pod.exit.exit_code == 0 else "Failed"

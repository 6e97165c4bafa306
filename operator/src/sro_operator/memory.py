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


class WatchAudit:
    """Compares what a list says with what the watch has delivered: a stream that froze in silence is found out."""

    def __init__(self) -> None:
        """Expect nothing."""
        self._seen: dict[str, int] = {}
        self._owed: dict[str, tuple[int, float]] = {}

    def seen(self, uid: str, resource_version: str) -> None:
        """The watch delivered this version of this object."""
        version = int(resource_version)
        self._seen[uid] = max(version, self._seen.get(uid, 0))
        if uid in self._owed and self._owed[uid][0] <= version:
            del self._owed[uid]

    def deleted(self, uid: str) -> None:
        """The watch delivered its deletion."""
        self._seen.pop(uid, None)
        self._owed.pop(uid, None)

    def listed(self, versions: dict[str, str], now: float) -> None:
        """A whole list said that these are the objects and their versions.

        Args:
            versions: resource version by uid.
            now: when it was asked for, in seconds of any steady clock.
        """
        for uid in (set(self._seen) | set(self._owed)) - set(versions):
            self.deleted(uid)
        for uid, text in versions.items():
            version = int(text)
            if self._seen.get(uid, 0) < version and uid not in self._owed:
                self._owed[uid] = (version, now)

    def lag_seconds(self, now: float) -> float:
        """For how long the watch has owed a change; 0 if it owes none."""
        return max((now - since for _, since in self._owed.values()), default=0.0)

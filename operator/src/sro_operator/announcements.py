"""Kubernetes events: one for each thing that a status says for the first time. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sro_api.base import Manifest
from sro_api.labels import (
    ACCEPTED,
    API_VERSION,
    FAILED,
    KIND,
    OPERATOR_FIELD_MANAGER,
    REASON_ACCEPTED,
    REASON_ATTEMPT_STARTED,
    REASON_EXPIRED,
    REASON_INVALID,
    REASON_PODS_PENDING,
    REASON_PODS_RUNNING,
    REASON_RESUMED,
    RESTARTING,
)
from sro_api.status import Condition, SROJobStatus

MESSAGE_LIMIT = 1024


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """Something that happened to a job."""

    reason: str
    message: str
    is_warning: bool = False


def announcements(before: SROJobStatus, after: SROJobStatus) -> tuple[Announcement, ...]:
    """What the second status says that the first did not: the attempts that it made, then what became of them.

    What follows from another piece of news is not told beside it: an attempt that starts was accepted, and its pods are to start; one
    all of whose pods have started has started.
    """
    said = {entry.type: entry for entry in before.conditions}
    known = {attempt.number for attempt in before.attempts}
    begun = [attempt for attempt in after.attempts if attempt.number not in known]
    implied = (REASON_ACCEPTED, REASON_PODS_PENDING) if begun else ()
    fresh = [entry for entry in after.conditions if _is_news(entry, said.get(entry.type))]
    is_up = any(entry.reason == REASON_PODS_RUNNING for entry in fresh)
    news: list[Announcement] = []
    if any(attempt.reason == "SuspendedByUser" for attempt in before.attempts[-1:]) and begun:
        news.append(Announcement(reason=REASON_RESUMED, message=f"goes on as attempt {begun[0].number}"))
    for attempt in begun:
        if is_up and attempt is begun[-1] and not attempt.resumed_from_step:
            continue
        start = f" from step {attempt.resumed_from_step}" if attempt.resumed_from_step else ""
        news.append(Announcement(reason=REASON_ATTEMPT_STARTED, message=f"attempt {attempt.number} started{start}"))
    news += [_of_condition(entry) for entry in fresh if entry.reason not in implied]
    return tuple(news)


def expiry(seconds: int) -> Announcement:
    """Said before a job is deleted at the end of its time to live."""
    text = f"deleted {seconds} s after it finished, spec.runPolicy.ttlSecondsAfterFinished"
    return Announcement(reason=REASON_EXPIRED, message=text)


def build_event(name: str, namespace: str, uid: str, news: Announcement, now: datetime) -> Manifest:
    """The core/v1 Event. Its name follows from its content: said twice in one second, it is said once."""
    digest = hashlib.sha256(f"{uid} {news.reason} {news.message} {now.isoformat()}".encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{digest}", "namespace": namespace},
        "involvedObject": {"apiVersion": API_VERSION, "kind": KIND, "name": name, "namespace": namespace, "uid": uid},
        "reason": news.reason,
        "message": news.message[:MESSAGE_LIMIT],
        "type": "Warning" if news.is_warning else "Normal",
        "source": {"component": OPERATOR_FIELD_MANAGER},
        "reportingComponent": OPERATOR_FIELD_MANAGER,
        "reportingInstance": OPERATOR_FIELD_MANAGER,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


def _is_news(entry: Condition, before: Condition | None) -> bool:
    if entry.reason == REASON_INVALID:
        return before is None or before.reason != REASON_INVALID or before.message != entry.message
    if entry.status != "True":
        return False
    changed = before is None or before.status != "True" or before.reason != entry.reason
    # The acceptance is said once; afterwards the phase is what changes.
    return changed and not (entry.type == ACCEPTED and before is not None and before.status == "True")


def _of_condition(entry: Condition) -> Announcement:
    is_warning = entry.type in (FAILED, RESTARTING) or entry.reason == REASON_INVALID
    return Announcement(reason=entry.reason, message=entry.message or entry.type, is_warning=is_warning)

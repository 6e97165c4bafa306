"""The record of ended attempts, kept on an object that lives as long as the job: a status that was lost is rebuilt from it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from sro_api.status import AttemptStatus

RECORD_ANNOTATION = "sro.dev/attempts"
"""On the job's Service: the attempts that ended before the newest was made, as a JSON list."""
MESSAGE_LIMIT = 160
EXIT_LIMIT = 4
_attempts = TypeAdapter(tuple[AttemptStatus, ...])


def record_text(attempts: Iterable[AttemptStatus]) -> str:
    """The ended attempts as the annotation's text, shortened so that 128 of them fit; empty if there are none."""
    kept = [_short(attempt).to_wire(defaults=False) for attempt in attempts if attempt.end_time is not None]
    return json.dumps(kept, separators=(",", ":"), sort_keys=True) if kept else ""


def read_record(text: str | None) -> tuple[AttemptStatus, ...]:
    """The attempts of an annotation; none where it is absent or cannot be read."""
    try:
        return _attempts.validate_json(text) if text else ()
    except ValidationError:
        return ()


def _short(attempt: AttemptStatus) -> AttemptStatus:
    exits = tuple(entry.model_copy(update={"message": None}) for entry in attempt.exits[:EXIT_LIMIT])
    message = attempt.message[:MESSAGE_LIMIT] if attempt.message else None
    return attempt.model_copy(update={"message": message, "exits": exits})

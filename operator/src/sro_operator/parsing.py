"""From the API server's JSON to the models: strict about the spec, forgiving about the status. Pure."""

from __future__ import annotations

from pydantic import ValidationError

from sro_api.base import Manifest
from sro_api.status import Condition, SROJobStatus
from sro_api.v1alpha1 import SROJob


class InvalidSpecError(ValueError):
    """The spec is none that this operator can read; the message names field, value and rule."""


def parse_job(manifest: Manifest) -> SROJob:
    """Read an SROJob.

    Raises:
        InvalidSpecError: the spec breaks a rule, as when it was stored under an older definition.
    """
    status = parse_status(manifest.get("status") or {})
    shown = {"apiVersion": manifest.get("apiVersion"), "kind": manifest.get("kind"), "metadata": manifest["metadata"]}
    try:
        job = SROJob.model_validate({**shown, "spec": manifest.get("spec") or {}})
    except ValidationError as error:
        raise InvalidSpecError(_problems(error)) from error
    return job.model_copy(update={"status": status})


def parse_status(raw: Manifest) -> SROJobStatus:
    """Read a status, leaving out what cannot be read: the operator writes its part anew.

    The conditions are kept one by one, since a final one must never be lost.
    """
    without_progress = {key: value for key, value in raw.items() if key != "progress"}
    for candidate in (raw, without_progress):
        try:
            return SROJobStatus.model_validate(candidate)
        except ValidationError:
            continue
    return SROJobStatus(conditions=tuple(filter(None, map(_condition, raw.get("conditions") or ()))))


def _condition(raw: object) -> Condition | None:
    try:
        return Condition.model_validate(raw)
    except ValidationError:
        return None


def _problems(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        lines.append(f"{field}: {problem['msg']}")
    return "; ".join(lines)

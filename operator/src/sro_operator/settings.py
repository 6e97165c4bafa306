"""What an operator process can be told, all of it from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PREFIX = "SRO_"
"""`SRO_TRAINER_IMAGE` sets `trainer_image`, and so on; an empty variable counts as absent."""

Seconds = Annotated[float, Field(gt=0)]


class OperatorSettings(BaseModel):
    """Settings of one operator process."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trainer_image: Annotated[str, Field(min_length=1)] = "sro-trainer:0.1.0"
    """Image of trainer pods whose SROJob names none."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to serve, separated by commas; empty serves the whole cluster."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level of the log lines on standard error."""
    http_host: str = "0.0.0.0"
    """Address that /healthz, /readyz and /metrics listen on."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Their TCP port; 0 takes a free one."""
    restart_base_seconds: Seconds = 10.0
    """Pause before the first restart; each further failure in a row doubles it."""
    restart_limit_seconds: Seconds = 300.0
    """The longest pause before a restart."""
    resync_seconds: Seconds = 60.0
    """How often every job is listed and looked at again, whether an event came or not."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """How many jobs are reconciled at the same time."""
    kept_attempts: Annotated[int, Field(ge=0, le=100)] = 2
    """Ended attempts, apart from the newest, whose Job and pods are kept so that their logs can be read."""
    termination_grace_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    """What a trainer pod gets to write a checkpoint after SIGTERM."""
    default_cpu_millis: Annotated[int, Field(ge=1)] = 500
    """CPU request per training process, in thousandths of a core, of a job that states no resources."""
    default_memory_mib: Annotated[int, Field(ge=1)] = 2048
    """Memory request per training process, in MiB, of a job that states no resources."""
    stuck_seconds: Seconds = 120.0
    """/healthz fails when one reconcile takes longer, or when a watch has missed a change for that long."""

    lease_namespace: str = ""
    """Namespace of the Lease by which replicas elect the one that works; empty works without an election, as the only one."""
    lease_name: Annotated[str, Field(min_length=1)] = "sro-operator"
    """Name of that Lease."""
    lease_seconds: Annotated[int, Field(ge=3, le=300)] = 9
    """After so long without a renewal a standby takes over."""
    lease_renew_seconds: Seconds = 2.0
    """Pause between two renewals; at most a third of lease_seconds."""
    progress_metrics_limit: Annotated[int, Field(ge=0, le=10_000)] = 200
    """Running jobs that have progress gauges of their own at /metrics; 0 switches them off."""

    @model_validator(mode="after")
    def _renews_in_time(self) -> Self:
        if self.lease_renew_seconds * 3 > self.lease_seconds:
            raise ValueError("lease_renew_seconds must be at most a third of lease_seconds")
        return self

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OperatorSettings:
        """Read the settings.

        Raises:
            pydantic.ValidationError: a value breaks its rule; the message names the field.
        """
        named = {name: environment.get(f"{PREFIX}{name.upper()}", "") for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in named.items() if value})

"""Every label, annotation, condition, reason and well-known name, each with its rule."""

from __future__ import annotations

from typing import Final

GROUP: Final = "sro.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SROJob"
PLURAL: Final = "srojobs"

JOB_NAME_LABEL: Final = "sro.dev/job-name"
"""On every child and pod: the name of the SROJob in the same namespace."""
JOB_UID_LABEL: Final = "sro.dev/job-uid"
"""On every child and pod: the uid of the SROJob, which tells a child that lost its owner from one of an earlier job."""
ATTEMPT_LABEL: Final = "sro.dev/attempt"
"""On what belongs to one attempt: its number in decimal, from 1."""
STUDY_LABEL: Final = "sro.dev/study"
"""On an SROJob that is a cell of a study: the study's name."""
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "sro-operator"
"""Value of the managed-by label: the operator lists and repairs only what carries it."""

OPERATOR_FIELD_MANAGER: Final = "sro-operator"
"""Owns children and every status field but `progress`."""
REPORTER_FIELD_MANAGER: Final = "sro-reporter"
"""Owns `status.progress` and nothing else."""

ACCEPTED: Final = "Accepted"
QUEUED: Final = "Queued"
RUNNING: Final = "Running"
SUSPENDED: Final = "Suspended"
RESTARTING: Final = "Restarting"
COMPLETE: Final = "Complete"
FAILED: Final = "Failed"

CONDITION_TYPES: Final = (ACCEPTED, QUEUED, RUNNING, SUSPENDED, RESTARTING, COMPLETE, FAILED)
"""Condition types, which are the phases as well. Complete and Failed are final."""
FINAL_PHASES: Final = frozenset({COMPLETE, FAILED})

REASON_ACCEPTED: Final = "SpecAccepted"
REASON_INVALID: Final = "SpecInvalid"
REASON_PODS_PENDING: Final = "PodsPending"
REASON_UNSCHEDULABLE: Final = "PodsUnschedulable"
REASON_IMAGE: Final = "ImageUnavailable"
REASON_POD_CONFIG: Final = "PodConfigInvalid"
REASON_PODS_REFUSED: Final = "PodsRefused"
REASON_HELD: Final = "HeldByQueue"
REASON_PODS_RUNNING: Final = "PodsRunning"
REASON_SUSPENDED: Final = "SuspendedByUser"
REASON_RESUMED: Final = "ResumedByUser"
REASON_ATTEMPT_STARTED: Final = "AttemptStarted"
REASON_ATTEMPT_FAILED: Final = "AttemptFailed"
REASON_ATTEMPT_DISRUPTED: Final = "AttemptDisrupted"
REASON_NODES_SHORT: Final = "NodesShort"
REASON_OUT_OF_MEMORY: Final = "OutOfMemory"
REASON_TRAINED: Final = "TrainingComplete"
REASON_BAD_CONFIGURATION: Final = "BadConfiguration"
REASON_BAD_DATA: Final = "BadData"
REASON_DIVERGED: Final = "LossDiverged"
REASON_RESTARTS_EXHAUSTED: Final = "MaxRestartsExceeded"
REASON_DEADLINE: Final = "DeadlineExceeded"
REASON_STARTUP: Final = "StartupTimeout"
REASON_EXPIRED: Final = "TTLExpired"

FAILURE_REASONS: Final = frozenset({REASON_ATTEMPT_FAILED, REASON_OUT_OF_MEMORY})
"""An attempt that ended so uses up a restart; one that was disrupted or suspended does not."""

CONFIG_MOUNT: Final = "/etc/sro"
"""Folder of `run.json`, the run configuration, in every trainer pod."""
CLAIM_MOUNT: Final = "/mnt/sro"
"""`pvc://claim/path` is `/mnt/sro/claim/path` in a trainer pod."""
WORKSPACE: Final = "/workspace"
"""Writable scratch of a trainer pod; relative `file:` outputs lie below it."""
IMAGE_DATA: Final = "/usr/share/sro"
"""Relative `file:` sources are read below this folder of the trainer image."""
RENDEZVOUS_PORT: Final = 29500
"""TCP port on which rank 0 listens."""

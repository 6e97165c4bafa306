"""The name of one SROJob in the cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class Key:
    """Names one SROJob, or a child of one."""

    namespace: str
    name: str

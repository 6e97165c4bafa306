"""What kopf calls. Events only fill the engine's cache and wake its queue: nothing is decided here, and kopf writes nothing."""

from __future__ import annotations

import os
from typing import Any

import kopf

from sro_api.labels import GROUP, PLURAL, VERSION
from sro_operator.cluster import PAGE
from sro_operator.engine import Engine
from sro_operator.kopf_storage import NoDiffBase, NoProgress
from sro_operator.settings import OperatorSettings

_PATIENCE = (1, 1, 2, 3, 5, *[10] * 8640)
"""Seconds between tries of a watch that finds no API server: a day of them, for an operator that gives up helps nobody."""

_IDLE_SECONDS = 0.1
"""How long kopf's task for an object outlives its last event, and holds that: by default five seconds, in which a start with
thousands of jobs holds them all."""


async def operate(settings: OperatorSettings) -> None:
    """Run kopf, and with it the engine, until SIGTERM."""
    namespaces = settings.namespaces
    await kopf.operator(standalone=True, clusterwide=not namespaces, namespaces=namespaces)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Configure kopf as a mere source of events, and start the engine."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.networking.enforce_retry_after = True
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.networking.error_backoffs = _PATIENCE
    memo.engine = await Engine.start(OperatorSettings.from_environment(os.environ))


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Stop the engine."""
    await memo.engine.stop()


@kopf.on.login()
def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
    """The same credentials as the engine's: `$KUBECONFIG`, else the pod's own account, else ~/.kube/config."""
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(settings=settings)
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


@kopf.on.event(GROUP, VERSION, PLURAL)
async def on_sro_job(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """An SROJob was made, changed or deleted."""
    memo.engine.on_sro_job(event["type"], event["object"])

"""`sro status` and `sro logs`: what a person asks a cluster about a job."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime

from sro_api.base import Manifest
from sro_api.labels import ATTEMPT_LABEL
from sro_operator.cluster import Cluster
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.kubeconfig import ConfigError, current_namespace
from sro_operator.observed import INDEX_ANNOTATION
from sro_operator.page import status_page
from sro_operator.parsing import InvalidSpecError, parse_job

START_POLL_SECONDS = 1.0


class NotFoundError(LookupError):
    """There is no such job or pod; the message says so."""


def status(argv: list[str]) -> int:
    """Print what is known of a job; 1 if there is none or no cluster answers."""
    parser = _parser("status", "Show phase, progress, conditions, attempts and results of a job on the cluster.")
    options = parser.parse_args(argv)
    return _run(_status(_key(options)))


def logs(argv: list[str]) -> int:
    """Print what a trainer pod of a job printed; 1 if there is none or no cluster answers."""
    parser = _parser(
        "logs", "Show what one trainer pod of a job prints; rank 0 of the newest attempt if nothing else is said."
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the pod ends")
    parser.add_argument("--index", type=int, default=0, metavar="K", help="the pod's number in its gang (default 0)")
    parser.add_argument("--attempt", type=int, metavar="N", help="an earlier attempt, while its pods are kept")
    parser.add_argument("--tail", type=int, metavar="LINES", help="start with this many last lines")
    options = parser.parse_args(argv)
    return _run(_logs(_key(options), options))


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    example = f"example: sro {name} quickstart -n team"
    parser = argparse.ArgumentParser(prog=f"sro {name}", description=description, epilog=example)
    parser.add_argument("name", metavar="NAME", help="the SROJob")
    parser.add_argument("-n", "--namespace", metavar="NS", help="its namespace; that of the current context if absent")
    return parser


def _key(options: argparse.Namespace) -> Key:
    return Key(namespace=options.namespace or current_namespace(), name=options.name)


def _run(work: Coroutine[None, None, None]) -> int:
    # Errors are told in one line of our own: what libraries log beside them is left out.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        asyncio.run(work)
    except (ApiError, ConfigError, NotFoundError, InvalidSpecError) as error:
        print(f"sro: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _status(key: Key) -> None:
    async with await Cluster.connect() as cluster:
        print(status_page(parse_job(await _existing(cluster, key)), datetime.now(UTC)), end="")


async def _logs(key: Key, options: argparse.Namespace) -> None:
    async with await Cluster.connect() as cluster:
        await _existing(cluster, key)
        pod = await _pod(cluster, key, options.index, options.attempt)
        if options.follow:
            await _wait_for_start(cluster, pod)
        async for line in cluster.logs(pod, follow=options.follow, last_lines=options.tail):
            print(line, flush=options.follow)


async def _existing(cluster: Cluster, key: Key) -> Manifest:
    manifest = await cluster.get_sro_job(key)
    if manifest is None:
        raise NotFoundError(f"there is no SROJob {key.name!r} in namespace {key.namespace!r}")
    return manifest


async def _pod(cluster: Cluster, key: Key, index: int, attempt: int | None) -> Key:
    pods = {_place(pod): pod["metadata"]["name"] for pod in await cluster.pods_of(key)}
    if not pods:
        raise NotFoundError(f"SROJob {key.name!r} has no pods now; `sro status {key.name}` tells why")
    newest = max(number for number, _ in pods) if attempt is None else attempt
    if (newest, index) not in pods:
        there = ", ".join(f"attempt {number} index {place}" for number, place in sorted(pods))
        raise NotFoundError(f"there is no pod of attempt {newest} with index {index}; there are: {there}")
    return Key(namespace=key.namespace, name=pods[(newest, index)])


async def _wait_for_start(cluster: Cluster, pod: Key) -> None:
    """Following means waiting: the API server refuses the log of a container that has not started."""
    while await cluster.pod_phase(pod) == "Pending":
        await asyncio.sleep(START_POLL_SECONDS)


def _place(pod: Manifest) -> tuple[int, int]:
    metadata = pod["metadata"]
    return int(metadata["labels"].get(ATTEMPT_LABEL, 0)), int(metadata.get("annotations", {}).get(INDEX_ANNOTATION, 0))

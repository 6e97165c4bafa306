"""`sro study FILE --cluster`: the entry point."""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.metadata import entry_points
from pathlib import Path

from sro_api.exit_codes import ExitCode
from sro_api.study_cli import StudyRequest
from sro_api.study_results import JobRecord
from sro_operator.cluster import Cluster
from sro_operator.errors import ApiError
from sro_operator.kubeconfig import ConfigError, current_namespace
from sro_operator.parsing import InvalidSpecError
from sro_operator.study.runner import AnotherJobError, ClusterStudy


def run(request: StudyRequest) -> int:
    """Run the cells as SROJobs; the exit code."""
    if not request.output.startswith("pvc://"):
        uri = request.file.study.spec.output.uri
        return _refuse(
            f"spec.output.uri: {uri!r} is a pod's own folder on a cluster: cells need pvc:// to outlive their pods"
        )
    if request.fresh:
        return _refuse(
            f"--fresh: on a cluster, `kubectl delete sro -l sro.dev/study={request.file.study.name}` and name another folder"
        )
    assert request.records is not None
    records = request.records.resolve()
    # Errors are told in one line of our own: what libraries log beside them is left out.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = asyncio.run(_run(request, records))
    except (ApiError, ConfigError, InvalidSpecError, AnotherJobError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        _tell("left; the jobs go on, and the same command watches them again")
        return ExitCode.TERMINATED
    _report(request, records)
    return code


async def _run(request: StudyRequest, records: Path) -> int:
    async with await Cluster.connect() as cluster:
        namespace = request.namespace or current_namespace()
        study = ClusterStudy(request=request, cluster=cluster, namespace=namespace, records=records, tell=_tell)
        return await study.run()


def _report(request: StudyRequest, records: Path) -> None:
    """The trainer's report where it is installed; else one line for each cell."""
    found = entry_points(group="sro.study", name="report")
    if found:
        next(iter(found)).load()(request)
        return
    for cell in request.cells:
        record = JobRecord.read(records / "cells" / cell.name)
        after = record.evaluation.after if record and record.evaluation else None
        joint = f"J {after.joint:.3f}" if after is not None and after.joint is not None else "J -"
        print(f"{cell.name}  {record.phase if record else 'not created'}  {joint}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refuse(problem: str) -> int:
    print(f"sro study: {problem}", file=sys.stderr)
    return ExitCode.BAD_CONFIGURATION

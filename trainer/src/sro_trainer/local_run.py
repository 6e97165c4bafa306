"""One manifest as a run on this machine: which configuration, in which folder, and whether it goes on or starts over."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from sro_api import labels, run_config
from sro_api.admission import validate_manifest
from sro_api.base import Manifest
from sro_api.compute import ComputeSpec
from sro_api.run_config import RunConfig
from sro_api.sources import output_path, parse_uri
from sro_api.v1alpha1 import SROJob, SROJobSpec
from sro_trainer import report
from sro_trainer.errors import ConfigurationError

MADE_BY_A_RUN = (
    "run.json", "report.json", "report.html", "metrics.jsonl", "model", "checkpoints", "evaluations", "evaluation", "screeners",
)  # fmt: skip
"""What `--fresh` removes from an output folder; anything else in it is not ours."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    file: Path
    output: Path | None = None
    """Takes the place of spec.output.uri."""
    claims: Path | None = None
    """Holds one folder per claim."""
    steps: int | None = None
    """Takes the place of spec.optimization.steps."""
    warm_start_steps: int | None = None
    """Takes the place of spec.leader.warmStart.steps."""
    fresh: bool = False
    """Remove what an earlier run left in the output folder."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job runs on this machine."""

    inputs: Path
    """Relative `file:` sources lie below it."""
    claims: Path | None = None
    """Holds one folder per claim."""
    manifest: str
    """What the manifest is called in a message."""


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """A run that can be started."""

    config: RunConfig
    folder: Path
    """Of the results."""
    state: Literal["new", "unfinished", "finished"]

    @property
    def config_file(self) -> Path:
        """What the trainer reads."""
        return self.folder / run_config.FILE_NAME

    def prepare(self) -> None:
        """Write the run configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(self.config.dump() + "\n", encoding="utf-8")


def plan(request: Request) -> LocalRun:
    """What a request comes to.

    Raises:
        ConfigurationError: the manifest is invalid or cannot run here; every problem is a line of the message.
    """
    job = SROJob.model_validate(_with_overrides(read_manifest(request.file), request))
    place = Place(inputs=request.file.resolve().parent, claims=request.claims, manifest=str(request.file))
    return plan_job(job, place, fresh=request.fresh)


def plan_job(job: SROJob, place: Place, *, fresh: bool = False, look: bool = True) -> LocalRun:
    """What a job comes to in a place.

    Args:
        job: valid.
        place: on this machine.
        fresh: remove what an earlier run left in the output folder.
        look: whether an earlier run is looked for there; otherwise the run is taken for a new one.

    Raises:
        ConfigurationError: the job cannot run here, or another one has run in its folder.
    """
    _check_runs_here(job.spec, place)
    config = RunConfig(
        name=job.name,
        namespace=job.namespace,
        spec=job.spec,
        inputs=str(place.inputs),
        outputs=str(Path.cwd()),
        claims=str((place.claims or Path(labels.CLAIM_MOUNT)).resolve()),
    )
    folder = output_path(job.spec.output.uri, config.roots)
    if fresh:
        checkpoints = job.spec.output.checkpoints
        _remove_earlier(folder, output_path(checkpoints, config.roots) if checkpoints else None)
    return _continued(config, folder) if look else LocalRun(config=config, folder=folder, state="new")


def missing(config: RunConfig) -> list[str]:
    """What the run needs and this machine lacks, in words."""
    lacking = []
    if importlib.util.find_spec("sro_screener._native") is None:
        lacking.append("the extension sro_screener, which has not been built")
    needed = {
        parse_uri(uri).authority for uri in _uris(config.spec.to_wire(defaults=True)) if uri.startswith("package://")
    }
    held_out = config.spec.held_out_screener
    if held_out is not None and held_out.type == "ProfanityCheck":
        needed.add("alt-profanity-check")
    absent = sorted(name for name in needed if not _is_installed(name))
    lacking += [f"the package {name}" for name in absent]
    return lacking


def read_manifest(file: Path) -> Manifest:
    """The one SROJob of a file.

    Raises:
        ConfigurationError: the file cannot be read, or holds an invalid manifest, none or several.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from error
    problems = validate_manifest(text)
    if problems:
        raise ConfigurationError("\n".join(f"{file}:{problem.line or 1}: {problem}" for problem in problems))
    jobs = [found for found in yaml.safe_load_all(text) if found and found.get("kind") == labels.KIND]
    if len(jobs) != 1:
        raise ConfigurationError(f"{file}: holds {len(jobs)} jobs; one is run at a time")
    manifest: Manifest = jobs[0]
    return manifest


def _with_overrides(manifest: Manifest, request: Request) -> Manifest:
    spec = manifest["spec"]
    if request.steps is not None:
        optimization = {**spec.get("optimization", {}), "steps": request.steps}
        optimization.pop("epochs", None)
        spec = {**spec, "optimization": optimization}
    if request.warm_start_steps is not None:
        if "warmStart" not in spec["leader"]:
            raise ConfigurationError("--warm-start-steps: the manifest has no spec.leader.warmStart")
        warm_start = {**(spec["leader"]["warmStart"] or {}), "steps": request.warm_start_steps}
        spec = {**spec, "leader": {**spec["leader"], "warmStart": warm_start}}
    if request.output is not None:
        spec = {**spec, "output": {"uri": f"file://{request.output.resolve()}"}}
    changed = {**manifest, "spec": spec}
    problems = validate_manifest(yaml.safe_dump(changed))
    if problems:
        raise ConfigurationError(
            "\n".join(f"{request.file}, as changed on the command line: {problem}" for problem in problems)
        )
    return changed


def _check_runs_here(spec: SROJobSpec, place: Place) -> None:
    if spec.compute.nodes != 1:
        raise ConfigurationError(
            f"spec.compute.nodes: {spec.compute.nodes} pods need a cluster (kubectl apply -f {place.manifest}); 1 runs here"
        )
    claims = sorted(uri for uri in _uris(spec.to_wire()) if uri.startswith("pvc://"))
    if claims and place.claims is None:
        raise ConfigurationError(
            f"{claims[0]!r} is on a volume claim: --claims DIR names a folder with one folder per claim"
        )
    if not spec.output.uri.startswith(("file:", "pvc://")):
        raise ConfigurationError(
            f"spec.output.uri: {spec.output.uri!r} is not on this machine: --output DIR names a folder"
        )


def _continued(config: RunConfig, folder: Path) -> LocalRun:
    try:
        earlier = RunConfig.load(folder / run_config.FILE_NAME)
    except FileNotFoundError:
        return LocalRun(config=config, folder=folder, state="new")
    except pydantic.ValidationError as error:
        raise ConfigurationError(f"{folder}: its run.json is of another version: --fresh starts over") from error
    # Where and on how many processes a run goes on is its own affair: a checkpoint does not depend on it.
    if (earlier.name, _learnt(earlier.spec)) != (config.name, _learnt(config.spec)):
        raise ConfigurationError(
            f"{folder}: holds a run of another specification: --fresh starts over, --output DIR goes elsewhere"
        )
    if (folder / report.FILE_NAME).is_file():
        return LocalRun(config=earlier, folder=folder, state="finished")
    config = config.model_copy(update={"attempt": earlier.attempt + 1})
    return LocalRun(config=config, folder=folder, state="unfinished")


def _learnt(spec: SROJobSpec) -> SROJobSpec:
    return spec.model_copy(update={"compute": ComputeSpec()})


def _remove_earlier(folder: Path, checkpoints: Path | None) -> None:
    if not (folder / run_config.FILE_NAME).is_file():
        return
    for path in [folder / name for name in MADE_BY_A_RUN] + ([checkpoints] if checkpoints else []):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _uris(part: Any) -> list[str]:
    """Every source URI anywhere in a spec."""
    if isinstance(part, dict):
        return [uri for value in part.values() for uri in _uris(value)]
    if isinstance(part, list):
        return [uri for value in part for uri in _uris(value)]
    return [part] if isinstance(part, str) and part.startswith(("package://", "pvc://")) else []


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True

"""`sro evaluate FILE`: a finished run's model, any other model, or paraphrases from elsewhere, measured as the manifest says."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from sro_api import labels
from sro_api.exit_codes import ExitCode
from sro_api.run_config import RunConfig
from sro_api.status import EvaluationStatus, OutputStatus
from sro_api.v1alpha1 import SROJob
from sro_trainer.config import load_config, output_folder
from sro_trainer.data import Datasets, load_datasets
from sro_trainer.errors import DataError, TrainerError
from sro_trainer.html_report import write_html
from sro_trainer.instruments import Instruments, build_instruments
from sro_trainer.local_run import read_manifest
from sro_trainer.measuring import FOLDER, MASK_INFILL, Evaluations
from sro_trainer.models import leader_dtype, load_model
from sro_trainer.players import build_codec
from sro_trainer.references import NO_REFERENCES, References, load_references
from sro_trainer.report import RunReport, figures_table
from sro_trainer.reporting import STAGES, build_report
from sro_trainer.rollout import rewrite
from sro_trainer.screeners import build_screener
from sro_trainer.sources_io import ModelLocation, resolve_model
from sro_trainer.tokens import within_limit

_EXAMPLES = """examples:
  sro evaluate examples/01-quickstart.yaml                                the model that `sro run` left, in runs/quickstart/evaluation
  sro evaluate examples/01-quickstart.yaml --model ~/models/other         another model, on the same rows with the same instruments
  sro evaluate job.yaml --paraphrases theirs.jsonl --output /tmp/theirs   what somebody else wrote: lines of
                                                                          {"source": "...", "paraphrase": "..."}
  sro evaluate runs/quickstart/run.json                                   a run's own configuration serves as well

What the manifest's run wrote before is compared with, where its folder is here. The same command again writes nothing anew that
has been written for the same model and rows. Exit codes: 0 measured, 64 bad configuration, 65 bad data or model, 69 a remote
model or file does not answer.
"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    file: Path
    output: Path | None = None
    model: Path | None = None
    paraphrases: Path | None = None
    claims: Path | None = None


def evaluate(argv: list[str]) -> int:
    """Measure, write `report.json` and `report.html`, and print the table."""
    request = _request(argv)
    try:
        folder, report = _evaluated(request)
    except TrainerError as error:
        return _refuse(str(error), error.exit_code)
    except ConnectionError as error:
        return _refuse(str(error), ExitCode.UNREACHABLE)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(figures_table(report))
    for name in ("report.json", "report.html"):
        console.print(f"{name}: {folder / name}", soft_wrap=True)
    return ExitCode.COMPLETE


def _request(argv: list[str]) -> Request:
    parser = argparse.ArgumentParser(
        prog="sro evaluate",
        description="Measure rewrites of the held-out rows as the manifest says.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a YAML file with one SROJob, or a run's run.json")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write there; by default the run's folder `evaluation`"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--model", type=Path, metavar="DIR", help="a transformers folder or GGUF file; by default the run's model"
    )
    what.add_argument("--paraphrases", type=Path, metavar="FILE", help="JSON lines with source and paraphrase")
    parser.add_argument("--claims", type=Path, metavar="DIR", help="folder that holds one folder per volume claim")
    return Request(**vars(parser.parse_args(argv)))


def _refuse(problem: str, code: ExitCode) -> int:
    for line in problem.splitlines():
        print(f"sro evaluate: {line}", file=sys.stderr)
    return code


def _evaluated(request: Request) -> tuple[Path, RunReport]:
    config = _config(request)
    # Before any model is loaded: a file that is none should be told at once.
    theirs = read_paraphrases(request.paraphrases) if request.paraphrases is not None else None
    run = output_folder(config)
    folder = request.output or run / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    datasets = load_datasets(config.spec, config.roots)
    cache = run / "screeners" if (run / "screeners").is_dir() else folder / "screeners"
    instruments = _instruments(config, datasets, cache)
    if theirs is not None:
        sources, written = theirs
        references = _references(config, sources)
        evaluations = Evaluations(folder, config.spec, sources, instruments, references)
        evaluations.measure("after", written)
        origin = str(request.paraphrases)
    else:
        evaluations, origin = _rewritten(request, config, datasets, instruments, folder)
    measured = {stage: evaluations.measured(stage) for stage in STAGES}
    report = build_report(
        config.name,
        evaluations,
        steps=_steps(run / "metrics.jsonl") if request.model is None and request.paraphrases is None else 0,
        evaluation=EvaluationStatus(**{stage: found.figures for stage, found in measured.items() if found is not None}),
        output=OutputStatus(uri=f"file://{folder.resolve()}", model=origin[:512]),
        counts=datasets.counts,
        metrics=run / "metrics.jsonl",
    )
    report.write(folder)
    write_html(folder, report, evaluations, metrics=run / "metrics.jsonl")
    return folder, report


def _config(request: Request) -> RunConfig:
    if request.file.suffix == ".json":
        return load_config(request.file)
    job = SROJob.model_validate(read_manifest(request.file))
    return RunConfig(
        name=job.name,
        namespace=job.namespace,
        spec=job.spec,
        inputs=str(request.file.resolve().parent),
        outputs=str(Path.cwd()),
        claims=str((request.claims or Path(labels.CLAIM_MOUNT)).resolve()),
    )


def _instruments(config: RunConfig, datasets: Datasets, cache: Path) -> Instruments:
    spec, roots = config.spec, config.roots
    screener = build_screener(spec.screener, datasets, roots, cache=cache)
    held_out = None
    if spec.held_out_screener is not None:
        held_out = build_screener(spec.held_out_screener, datasets, roots, cache=cache)
    return build_instruments(spec, roots, datasets, (screener, held_out), caches=(cache,))


def _references(config: RunConfig, sources: tuple[str, ...]) -> References:
    named = config.spec.evaluation.references
    return load_references(named, config.roots, sources) if named is not None else NO_REFERENCES


def _rewritten(
    request: Request, config: RunConfig, datasets: Datasets, instruments: Instruments, folder: Path
) -> tuple[Evaluations, str]:
    """The model's rewrites of the held-out rows: those that are there already, or new ones."""
    spec, run = config.spec.leader, output_folder(config)
    path = request.model or run / "model"
    if not path.exists():
        raise DataError(f"--model: there is no model at {path}; `sro run {request.file}` makes one")
    uri = f"file://{path.resolve()}"
    location = resolve_model(uri, config.roots, field="--model")
    leader = spec.model_copy(update={"model": uri, "tokenizer": None if location.gguf_file is None else spec.tokenizer})
    named = config.model_copy(update={"spec": config.spec.model_copy(update={"leader": leader})})
    loaded = load_model(location, leader, leader_dtype(leader, torch.device("cpu")))
    codec = build_codec(named, location, loaded.task, loaded.model.generation_config.eos_token_id)
    sources = within_limit(codec, datasets.evaluation, leader.max_source_tokens, config.spec.data.overlong)
    evaluations = Evaluations(folder, config.spec, sources, instruments, _references(config, sources))
    _take_over(run / FOLDER, folder / FOLDER)
    mark, marked = _mark(location, sources), folder / FOLDER / "after.model"
    if not (marked.is_file() and marked.read_text(encoding="utf-8") == mark and evaluations.kept("after") is not None):
        evaluations.measure("after", rewrite(loaded.model, codec, sources, max_new_tokens=leader.max_new_tokens))
        marked.write_text(mark, encoding="utf-8")
    return evaluations, str(path)


def _take_over(run: Path, folder: Path) -> None:
    """Copy what the run's other rewriters wrote, to be compared with."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("untrained", "before", MASK_INFILL):
        source, target = run / f"{name}.jsonl", folder / f"{name}.jsonl"
        if source.is_file() and source.resolve() != target.resolve():
            shutil.copyfile(source, target)


def _mark(location: ModelLocation, sources: tuple[str, ...]) -> str:
    """Tells a model and rows apart from others, without reading gigabytes."""
    files = sorted(path for path in location.folder.iterdir() if path.is_file())
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([stamps, location.gguf_file, sources]).encode()).hexdigest()


def _steps(metrics: Path) -> int:
    if not metrics.is_file():
        return 0
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return max((int(row["step"]) for row in rows if row.get("stage") == "Training"), default=0)


def read_paraphrases(file: Path) -> tuple[tuple[str, ...], list[str]]:
    """Sources and paraphrases from JSON lines.

    Raises:
        DataError: the file cannot be read, or a line is no object with both texts; the message names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--paraphrases: {file}: {error}") from error
    sources, written = [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"--paraphrases: {file}:{number}: is no JSON: {error.msg}") from error
        if not (
            isinstance(row, dict) and isinstance(row.get("source"), str) and isinstance(row.get("paraphrase"), str)
        ):
            raise DataError(f"--paraphrases: {file}:{number}: must be an object with the texts source and paraphrase")
        sources.append(row["source"])
        written.append(row["paraphrase"])
    if not sources:
        raise DataError(f"--paraphrases: {file} has no rows")
    return tuple(sources), written

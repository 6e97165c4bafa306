"""`sro study FILE`: what was asked for, and who does it: this module, the trainer, or the operator's distribution."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import yaml

from sro_api.exit_codes import ExitCode
from sro_api.study_cells import Cell, selected
from sro_api.study_file import StudyFile, StudyFileError, load_study

_HOMES = {"local": "sro-trainer", "report": "sro-trainer", "cluster": "sro-operator"}
_EXAMPLES = """examples:
  sro study examples/studies/objectives.yaml --check         what is wrong with the file, if anything
  sro study examples/studies/objectives.yaml --list          the cells and what became of them
  sro study examples/studies/objectives.yaml --print         every cell as a manifest
  sro study examples/studies/objectives.yaml --claims DIR    train the cells here, in turn; pvc://NAME/... is DIR/NAME/...
  sro study FILE --only '*-sro-*' --limit 2                  two cells more, of those whose name matches
  sro study FILE --select coarse --until-seconds 3600        a part of the study that the file names, for an hour
  sro study FILE --cluster -n team                           the cells as SROJobs, spec.concurrency at once
  sro study FILE --report                                    the report alone, of what there is

The same command again goes on: finished cells are kept, an interrupted one goes on from its checkpoint. A failed cell is recorded with
its reason and ends nothing; --again tries failed ones again. Ctrl-C writes a checkpoint and stops; twice, it stops at once.
Exit codes: 0 every cell asked for is finished, 1 some failed, 64 bad file, 76 stopped before the end.
"""


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What was asked for on the command line."""

    file: StudyFile
    output: str
    """URI of the study's folder: absolute where it is a file."""
    cells: tuple[Cell, ...]
    """All cells of the study, in their order."""
    wanted: frozenset[str]
    """Names of those that are to run, the shared warm start among them."""
    claims: Path | None = None
    limit: int | None = None
    """At most so many cells are started."""
    until_seconds: float | None = None
    """After so long what runs is stopped, after a checkpoint."""
    cell_seconds: float | None = None
    """A cell that takes longer fails."""
    at_once: int = 1
    """On this machine so many cells train side by side."""
    again: bool = False
    """Try failed cells again."""
    fresh: bool = False
    """Forget what earlier runs left of the wanted cells."""
    records: Path | None = None
    """Folder on this machine of what is kept of jobs on a cluster; the study's own where it runs here."""
    namespace: str | None = None
    """On a cluster; that of the current context if None."""
    concurrency: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether some cells were not asked for."""
        return len(self.wanted) < len(self.cells)


def study(argv: list[str]) -> int:
    """Do what is asked with one study file; the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        request = _request(options)
    except StudyFileError as error:
        return _refuse(str(error))
    except ValueError as error:
        return _refuse(str(error))
    if options.check:
        print(f"{options.file}: valid, {len(request.cells)} cells")
        return ExitCode.COMPLETE
    if options.print_cells:
        wanted = [cell.manifest for cell in request.cells if cell.name in request.wanted]
        print(yaml.safe_dump_all(wanted, sort_keys=False, width=120, allow_unicode=True), end="")
        return ExitCode.COMPLETE
    return _handed_on(request, options)


def _handed_on(request: StudyRequest, options: argparse.Namespace) -> int:
    name = "cluster" if options.cluster else "report" if options.report or options.list_cells else "local"
    found = entry_points(group="sro.study", name=name)
    if not found:
        return _refuse(f"--{name}: not installed; it comes with the distribution {_HOMES[name]}")
    run = next(iter(found)).load()
    return int(run(request, only_list=True) if options.list_cells else run(request))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sro study",
        description="Train a grid of SROJobs, resumably, and compare them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a YAML file with one Study")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="say what is wrong with the file and its cells, and stop")
    what.add_argument("--print", action="store_true", dest="print_cells", help="print the cells' manifests and stop")
    what.add_argument("--list", action="store_true", dest="list_cells", help="list the cells and their states and stop")
    what.add_argument("--report", action="store_true", help="write the report of what there is and stop")
    what.add_argument("--cluster", action="store_true", help="create the cells as SROJobs and wait for them")
    which = parser.add_argument_group("which cells")
    which.add_argument(
        "--only", action="append", default=[], metavar="GLOB", help="those whose name matches; may be repeated"
    )
    which.add_argument(
        "--select", action="append", default=[], metavar="NAME", help="one of the file's spec.selections"
    )
    which.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="those with one of these seeds")
    which.add_argument("--limit", type=_positive_int, metavar="N", help="start at most N cells")
    which.add_argument("--again", action="store_true", help="try failed cells again, from their checkpoints")
    which.add_argument("--fresh", action="store_true", help="forget earlier runs of these cells and start them over")
    here = parser.add_argument_group("on this machine")
    here.add_argument("--output", type=Path, metavar="DIR", help="write there, not to spec.output")
    here.add_argument("--claims", type=Path, metavar="DIR", help="folder that holds one folder per volume claim")
    here.add_argument(
        "--until-seconds", type=_positive, metavar="S", help="stop after a checkpoint when S seconds have passed"
    )
    here.add_argument("--cell-seconds", type=_positive, metavar="S", help="in place of spec.cellSeconds")
    here.add_argument(
        "--at-once",
        type=_positive_int,
        default=1,
        metavar="N",
        help="train N cells side by side, as on a GPU that holds them",
    )
    cluster = parser.add_argument_group("on a cluster")
    cluster.add_argument("-n", "--namespace", metavar="NS", help="of the jobs; that of the current context if absent")
    cluster.add_argument(
        "--records", type=Path, metavar="DIR", help="keep results of the jobs there (runs/STUDY); also for --report"
    )
    cluster.add_argument("--concurrency", type=_positive_int, metavar="N", help="in place of spec.concurrency")
    return parser


def _request(options: argparse.Namespace) -> StudyRequest:
    """The request that the options come to.

    Raises:
        ValueError: they name cells or selections that there are not.
    """
    file = load_study(options.file)
    output = _output(file, options.output)
    cells = file.cells(output)
    if any(letter in output for letter in " ?#"):
        raise ValueError(f"--output: {output!r} must have no spaces, ? or #")
    spec = file.study.spec
    return StudyRequest(
        file=file,
        output=output,
        cells=cells,
        wanted=_wanted(file, cells, options),
        claims=options.claims,
        limit=options.limit,
        until_seconds=options.until_seconds,
        cell_seconds=options.cell_seconds or spec.cell_seconds,
        at_once=options.at_once,
        again=options.again,
        fresh=options.fresh,
        records=_records(file, output, options),
        namespace=options.namespace,
        concurrency=options.concurrency or spec.concurrency,
    )


def _output(file: StudyFile, given: Path | None) -> str:
    """A relative folder starts at the current one, wherever the study file lies; its cells read it as a source, too."""
    uri = f"file:{given}" if given is not None else file.study.spec.output.uri
    if not uri.startswith("file:"):
        return uri.rstrip("/")
    path = uri.removeprefix("file://") if uri.startswith("file:///") else uri.removeprefix("file:")
    return f"file://{Path(path).resolve()}".rstrip("/")


def _records(file: StudyFile, output: str, options: argparse.Namespace) -> Path | None:
    """Where what a cluster said is kept: that is all there is to read where the study's claim is not at hand."""
    if options.records is not None:
        return Path(options.records)
    on_claim = output.startswith("pvc://") and options.claims is None
    return Path("runs") / file.study.name if options.cluster or on_claim else None


def _wanted(file: StudyFile, cells: tuple[Cell, ...], options: argparse.Namespace) -> frozenset[str]:
    chosen = cells
    if options.select:
        selections = file.study.spec.selections
        for name in options.select:
            if name not in selections:
                there = ", ".join(sorted(selections)) or "none"
                raise ValueError(f"--select: {name!r} is none of spec.selections; there are {there}")
        chosen = selected(cells, [selector for name in options.select for selector in selections[name]])
    if options.only:
        chosen = tuple(cell for cell in chosen if any(fnmatch.fnmatchcase(cell.name, glob) for glob in options.only))
    if options.seeds:
        chosen = tuple(cell for cell in chosen if cell.seed is None or cell.seed in options.seeds)
    if not chosen:
        raise ValueError("--only, --select and --seeds: no cell is left; `--list` shows all")
    # Whoever loads the shared warm start needs it first.
    return frozenset(cell.name for cell in (*chosen, *cells) if cell in chosen or cell.is_warm_start)


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _refuse(problem: str) -> int:
    for line in problem.splitlines():
        print(f"sro study: {line}", file=sys.stderr)
    return ExitCode.BAD_CONFIGURATION

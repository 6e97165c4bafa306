"""`sro run FILE`: the manifest of a cluster job, run on this machine by the same trainer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from sro_api.exit_codes import ExitCode
from sro_trainer.errors import ConfigurationError
from sro_trainer.local_run import LocalRun, Request, missing, plan
from sro_trainer.report import RunReport, figures_table
from sro_trainer.trainer_process import Order, stoppable, train

_EXAMPLES = """examples:
  sro run examples/01-quickstart.yaml
  sro run examples/01-quickstart.yaml --steps 10 --output /tmp/try    a short try, elsewhere
  sro run examples/01-quickstart.yaml --fresh                        forget the earlier run and start over
  sro run examples/03-two-nodes-zero2.yaml --claims ~/claims         pvc://NAME/... is ~/claims/NAME/...

The same command again goes on after an interruption, from the last checkpoint. Ctrl-C writes a checkpoint and stops;
twice, it stops at once. Exit codes: 0 trained, 64 bad configuration, 65 bad data, 66 the loss diverged, 73 disk full,
76 stopped after a checkpoint.
"""


def run(argv: list[str]) -> int:
    """Run one manifest here; the exit code is the trainer's."""
    try:
        planned = plan(_request(argv))
    except ConfigurationError as error:
        return _refuse(str(error))
    if planned.state == "finished":
        print(f"{planned.folder} holds this run, finished; --fresh starts over")
        _print_results(planned.folder)
        return ExitCode.COMPLETE
    lacking = missing(planned.config)
    if lacking:
        return _refuse(f"missing: {', '.join(lacking)}; `make setup` installs what is missing")
    planned.prepare()
    if planned.state == "unfinished":
        print(f"going on with the run in {planned.folder}", file=sys.stderr)
    code = _train(planned)
    if code == ExitCode.COMPLETE:
        _print_results(planned.folder)
    elif code == ExitCode.TERMINATED:
        print("sro run: stopped after a checkpoint; the same command goes on from it", file=sys.stderr)
    return code


def _request(argv: list[str]) -> Request:
    parser = argparse.ArgumentParser(
        prog="sro run",
        description="Train on this machine, as the manifest says.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a YAML file with one SROJob")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write results there, not to spec.output")
    parser.add_argument("--claims", type=Path, metavar="DIR", help="folder that holds one folder per volume claim")
    parser.add_argument("--steps", type=int, metavar="N", help="in place of spec.optimization.steps")
    parser.add_argument("--warm-start-steps", type=int, metavar="N", help="in place of spec.leader.warmStart.steps")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier run left in the output folder")
    return Request(**vars(parser.parse_args(argv)))


def _refuse(problem: str) -> int:
    for line in problem.splitlines():
        print(f"sro run: {line}", file=sys.stderr)
    return ExitCode.BAD_CONFIGURATION


def _train(planned: LocalRun) -> int:
    with stoppable() as stop:
        return train(Order(config_file=planned.config_file), stop).code


def _print_results(folder: Path) -> None:
    results = RunReport.read(folder)
    console = Console()
    if not console.is_terminal:
        # A file has no width, and rich would cut the columns to 80 characters.
        console = Console(width=120)
    console.print(figures_table(results))
    console.print(f"model: {results.output.model or 'none'}", soft_wrap=True)
    console.print(f"report: {folder / 'report.json'}", soft_wrap=True)

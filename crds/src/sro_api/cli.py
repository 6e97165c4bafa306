"""`sro`: one command for SROJobs on this machine and on a cluster.

`validate` is here, and what a study file comes to; `run` and `evaluate` come with the distribution sro-trainer, `status` and `logs` with
sro-operator.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import entry_points
from pathlib import Path

from sro_api.admission import validate_manifest
from sro_api.study_cli import study
from sro_api.study_file import is_study, study_problems

_HOMES = {"run": "sro-trainer", "evaluate": "sro-trainer", "status": "sro-operator", "logs": "sro-operator"}
_HELP = """usage: sro COMMAND ...

commands:
  run FILE            train on this machine, as the manifest says
  study FILE          train a grid of jobs, here or on a cluster, and compare them
  evaluate FILE       measure a finished run's model, another model, or paraphrases from elsewhere
  validate FILE...    what the API server would say to these manifests, with line numbers
  status NAME         phase, progress, conditions and attempts of a job on the cluster
  logs NAME           what its trainer pods print

examples:
  sro validate examples/*.yaml
  sro run examples/01-quickstart.yaml
  sro study examples/studies/objectives.yaml --check
  kubectl apply -f examples/03-two-nodes-zero2.yaml && sro status two-nodes

`sro COMMAND --help` tells more.
"""


def main(argv: list[str] | None = None) -> int:
    """Hand the arguments to one command; 2 for a command that there is not."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0 if arguments else 2
    name, *rest = arguments
    if name in ("validate", "study"):
        return validate(rest) if name == "validate" else study(rest)
    if name not in _HOMES:
        print(f"sro: there is no command {name!r}; `sro --help` lists them", file=sys.stderr)
        return 2
    found = entry_points(group="sro.commands", name=name)
    if not found:
        print(f"sro {name}: not installed; it comes with the distribution {_HOMES[name]}", file=sys.stderr)
        return 2
    return int(next(iter(found)).load()(rest))


def validate(argv: list[str]) -> int:
    """Print every problem as FILE:LINE: PATH: MESSAGE; 1 if there is one."""
    parser = argparse.ArgumentParser(
        prog="sro validate",
        description="Say what the API server would say to these manifests, without one.",
        epilog="example: sro validate examples/*.yaml",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a YAML file of SROJobs or of one Study; - is standard input"
    )
    failed = False
    for file in parser.parse_args(argv).files:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            failed = True
            continue
        problems = study_problems(text, Path(file).parent) if is_study(text) else validate_manifest(text)
        for problem in problems:
            print(f"{file}:{problem.line or 1}: {problem}")
        failed |= bool(problems)
        if not problems:
            print(f"{file}: valid")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

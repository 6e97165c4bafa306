"""docs/lifecycle.md, written from the table that the operator decides by: `python -m sro_operator.lifecycle_page FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sro_api.exit_codes import FINAL_EXIT_CODES, ExitCode
from sro_api.labels import ACCEPTED, COMPLETE, FAILED, QUEUED, RESTARTING, RUNNING, SUSPENDED
from sro_operator.lifecycle import REASONS, RULES

PHASES = {
    ACCEPTED: "the spec is valid, and no attempt was made yet",
    QUEUED: "an attempt was made, or is about to be; not all of its pods have started",
    RUNNING: "every pod of the attempt has started",
    SUSPENDED: "told to suspend; no pod runs",
    RESTARTING: "an attempt ended, and another follows",
    COMPLETE: "trained to the last step; final",
    FAILED: "not to be had; final",
}
"""The phases, which are the condition types as well, and what each means."""
_HEAD = """<!-- Made from operator/src/sro_operator/lifecycle.py by `make generate`; edit that file, not this one. -->
# The life of an SROJob

`status` is derived from what is observed: the attempts' Jobs, their pods, and the record of ended attempts that the job's Service
carries (`sro.dev/attempts`). What it said before decides nothing, with one exception: Complete and Failed stay, whatever happens to
the children. A status that is thrown away is rebuilt, attempts included.

## Phases and conditions

Each phase is a condition type too. Exactly one of them is True besides `Accepted`, which stays True from the first look on (False, reason
`SpecInvalid`, where the operator cannot read the spec). `lastTransitionTime` moves only with the condition's status.
"""
_DECISION = """
## The decision

Read from the top; the first row that holds says phase and reason. *After* names the phases that it may follow while the operator
watches; after an outage, any phase may follow any but the final ones.
"""
_ATTEMPTS = """
## Attempts

An attempt is one Indexed Job, `<job>-a<N>`, made once. The next is made when the last has ended, none of its pods lives, and the pause
is over: `operator.restartBaseSeconds`, doubled by each failure in a row up to `operator.restartLimitSeconds`; none after a suspension
or for want of nodes. Before a further attempt is made the API server is asked, not the cache. It goes on from the newest checkpoint
that verifies.

With `spec.compute.minNodes` an attempt whose pods have been without a node for `shrinkAfterSeconds` (300) gives way to one of as many pods
as have one: at least `minNodes`, and a number that divides the batch as admission asks of `nodes`. Batch, order of the rows and
verdicts stay the same, losses agree to rounding (`make test-resume`, "2 processes, then 1"). Whatever ends the smaller attempt, the
one after it asks for all `nodes` again.

| ended by | reason | counts against maxRestarts | then |
|---|---|---|---|
"""
_CHANGES = """
## Changes to a job that exists

`spec.runPolicy` (suspend, maxRestarts, activeDeadlineSeconds, startupTimeoutSeconds, ttlSecondsAfterFinished) and
`spec.compute.priorityClassName` may change at any time; the latter counts for the next attempt. The API server refuses any other
change of the spec, by name.
"""


def page() -> str:
    """The whole document."""
    return "".join(_lines())


def transitions() -> set[tuple[str, str]]:
    """The changes of phase that the table knows."""
    return {(before, rule.phase) for rule in RULES for before in rule.after if before != rule.phase}


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "\n| phase | means |\n|---|---|\n"
    for phase, text in PHASES.items():
        yield f"| {phase} | {text} |\n"
    yield "\n```mermaid\nstateDiagram-v2\n    [*] --> Accepted\n"
    for before, phase in sorted(transitions()):
        yield f"    {before} --> {phase}\n"
    yield "    Complete --> [*]\n    Failed --> [*]\n```\n"
    yield _DECISION
    yield "\n| # | when | phase | reason | after |\n|---|---|---|---|---|\n"
    for number, rule in enumerate(RULES, 1):
        after = "any but Complete and Failed" if len(rule.after) == 5 else ", ".join(rule.after)
        yield f"| {number} | {rule.when} | {rule.phase} | `{rule.reason}` | {after} |\n"
    yield _ATTEMPTS
    for cause, reason, counts, then in _ENDINGS:
        yield f"| {cause} | `{reason}` | {counts} | {then} |\n"
    yield "\nExit codes of the trainer:\n\n| code | name | then |\n|---|---|---|\n"
    for code in ExitCode:
        then = "Complete" if code == 0 else "Failed, no restart" if code in FINAL_EXIT_CODES else "the next attempt"
        yield f"| {int(code)} | {code.name} | {then} |\n"
    yield "| other | a crash or a signal | the next attempt |\n"
    yield "\n## Reasons\n\nOf conditions, attempts and events. An event has the reason of what it announces.\n"
    yield "\n| reason | means |\n|---|---|\n"
    for reason, text in REASONS.items():
        yield f"| `{reason}` | {text} |\n"
    yield _CHANGES


_ENDINGS = (
    ("every pod exits with 0", "TrainingComplete", "no", "Complete"),
    ("a pod exits with 64, 65 or 66", "BadConfiguration, BadData, LossDiverged", "no", "Failed at once"),
    ("a pod is killed for its memory", "OutOfMemory", "yes", "the next attempt, or Failed when none is left"),
    ("any other failure of a pod", "AttemptFailed", "yes", "the next attempt, or Failed when none is left"),
    ("eviction, preemption, node loss, deletion of pod or Job", "AttemptDisrupted", "no", "the next attempt"),
    (
        "nodes for fewer pods than it has, for `compute.shrinkAfterSeconds`",
        "NodesShort",
        "no",
        "the next attempt, of fewer pods",
    ),
    ("suspension", "SuspendedByUser", "no", "Suspended; the next attempt when resumed"),
    ("the deadline", "DeadlineExceeded", "no", "Failed"),
    ("pods that do not start", "StartupTimeout", "no", "Failed"),
)


def main(argv: list[str] | None = None) -> int:
    """Write the document to the file that is named."""
    (path,) = sys.argv[1:] if argv is None else argv
    Path(path).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""From values.yaml to the table in the chart's README: `python charts/values_table.py [--check]`.

A value is a key with a comment right above it; the comment is its description, what the file says is its default.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHART = Path(__file__).resolve().parent / "sro-operator"
VALUES = _CHART / "values.yaml"
README = _CHART / "README.md"

_KEY = re.compile(r"^(?P<indent> *)(?P<name>[A-Za-z]+): *(?P<default>.*)$")
_TABLE = re.compile(
    r"(?<=<!-- values: made from values.yaml by `make generate` -->\n).*?(?=<!-- end of values -->)", re.DOTALL
)
_INDENT = 2


@dataclass(frozen=True)
class Value:
    """One value of the chart."""

    path: str
    """Its keys, joined by dots."""
    default: str
    """As values.yaml writes it."""
    description: str


def values_of(text: str) -> Iterator[Value]:
    """The values that a values.yaml documents, in its order."""
    parents: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip("# "))
        elif found := _KEY.match(line):
            del parents[len(found["indent"]) // _INDENT :]
            parents.append(found["name"])
            if comment:
                yield Value(".".join(parents), found["default"], " ".join(comment))
            comment = []
        else:
            comment = []


def with_table(readme: str, values: Iterator[Value]) -> str:
    """The README with its table replaced.

    Raises:
        ValueError: the README has not the two marks between which the table stands.
    """
    rows = [f"| `{value.path}` | `{value.default}` | {_cell(value.description)} |\n" for value in values]
    table = "| value | default | meaning |\n|---|---|---|\n" + "".join(rows)
    made, count = _TABLE.subn(lambda _: table, readme)
    if count != 1:
        raise ValueError("README: must have one pair of marks for the table of values")
    return made


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str] | None = None) -> int:
    """Write the table, or, with --check, compare it: 0 if it is up to date, else 1."""
    parser = argparse.ArgumentParser(description="Make the table of values in the chart's README from values.yaml.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is out of date")
    options = parser.parse_args(arguments)
    now = README.read_text(encoding="utf-8")
    wanted = with_table(now, values_of(VALUES.read_text(encoding="utf-8")))
    if not options.check:
        README.write_text(wanted, encoding="utf-8")
    elif wanted != now:
        sys.stderr.write(f"{README}: the table of values is out of date: run `make generate`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

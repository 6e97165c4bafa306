"""From the CustomResourceDefinition to its chart template: `python charts/crd_template.py [--check]`.

Helm installs what lies in a chart's own crds/ once and never upgrades it, so the definition is an ordinary template: the
file that `sro_api.schema` writes, word for word, with a switch round it and the chart's metadata in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_CHARTS = Path(__file__).resolve().parent
SOURCE = _CHARTS.parent / "crds" / "srojobs.sro.dev.yaml"
TEMPLATE = _CHARTS / "sro-operator" / "templates" / "crd.yaml"

_HEADER = "{{- /* Made from crds/srojobs.sro.dev.yaml by `make generate`; edit neither. */ -}}\n{{- if .Values.crds.enabled }}\n"
_METADATA = """\
metadata:
  labels:
    {{- include "sro-operator.labels" . | nindent 4 }}
  {{- if or .Values.crds.keep .Values.crds.annotations }}
  annotations:
    {{- if .Values.crds.keep }}
    helm.sh/resource-policy: keep
    {{- end }}
    {{- with .Values.crds.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
"""
_FOOTER = "{{- end }}\n"


def crd_template(definition: str) -> str:
    """The chart template of a CustomResourceDefinition.

    Args:
        definition: its YAML, one document whose metadata have neither labels nor annotations.

    Raises:
        ValueError: the document is another one than that.
    """
    lines = [line for line in definition.splitlines(keepends=True) if not line.startswith(("#", "---"))]
    if lines.count("metadata:\n") != 1 or "kind: CustomResourceDefinition\n" not in lines:
        raise ValueError("definition: must be one CustomResourceDefinition with a metadata block of its own")
    if {"  labels:\n", "  annotations:\n"} & set(lines):
        raise ValueError("definition: metadata must have no labels or annotations, which the chart sets")
    body = "".join(_METADATA if line == "metadata:\n" else _literal(line) for line in lines)
    return _HEADER + body + _FOOTER


def _literal(line: str) -> str:
    """The line as a template that renders to itself."""
    return line.replace("{{", '{{ "{{" }}')


def main(arguments: list[str] | None = None) -> int:
    """Write the template, or, with --check, compare it: 0 if it is up to date, else 1."""
    parser = argparse.ArgumentParser(description="Make the chart's CRD template from the CustomResourceDefinition.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the template is out of date")
    parser.add_argument("--source", type=Path, default=SOURCE, help="the CustomResourceDefinition")
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="the template to write or compare")
    options = parser.parse_args(arguments)
    wanted = crd_template(options.source.read_text(encoding="utf-8"))
    if not options.check:
        options.template.write_text(wanted, encoding="utf-8")
        return 0
    if options.template.exists() and options.template.read_text(encoding="utf-8") == wanted:
        return 0
    sys.stderr.write(f"{options.template} is out of date: run `make generate`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Manifests for the two judges, `sro validate` and the API server: a base and what each case changes in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from sro_api.base import Manifest

MANIFESTS = Path(__file__).parent / "manifests"


def cases(file: str) -> list[Manifest]:
    """The cases of `invalid.yaml` or `valid.yaml`."""
    loaded: list[Manifest] = yaml.safe_load((MANIFESTS / file).read_text(encoding="utf-8"))
    return loaded


def changed(change: dict[str, Any]) -> Manifest:
    """The base manifest with dotted paths replaced, or removed by null."""
    manifest: Manifest = copy.deepcopy(yaml.safe_load((MANIFESTS / "base.yaml").read_text(encoding="utf-8")))
    for path, value in change.items():
        *parents, last = path.split(".")
        at = manifest
        for key in parents:
            at = at[key]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return manifest

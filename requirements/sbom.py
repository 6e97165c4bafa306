"""A CycloneDX bill of materials of an image, from its pinned requirements: `python requirements/sbom.py NAME > FILE`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
OWN = {"operator": ("sro-api", "sro-operator"), "trainer-image": ("sro-api", "sro-trainer", "sro-screener")}
VERSION = "0.1.0"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def components(text: str) -> Iterator[dict[str, Any]]:
    """The pinned distributions of a requirements file, which also holds the digests that pip accepts."""
    for pin in _PIN.finditer(text):
        name = re.sub(r"[-_.]+", "-", pin["name"]).lower()
        purl = f"pkg:pypi/{name}@{pin['version']}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": pin["version"], "purl": purl}


def bill(image: str) -> dict[str, Any]:
    """The whole document."""
    text = (FOLDER / f"{image}.txt").read_text(encoding="utf-8")
    own = [{"type": "library", "name": name, "version": VERSION, "bom-ref": name} for name in OWN[image]]
    subject = {
        "type": "container",
        "name": f"sro/{image.removesuffix('-image')}",
        "version": VERSION,
        "bom-ref": "image",
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": subject},
        "components": [*own, *components(text)],
    }


if __name__ == "__main__":
    (_, chosen) = sys.argv
    print(json.dumps(bill(chosen), indent=1))

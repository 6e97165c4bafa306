"""`python tests/chart/write_rendered.py FOLDER`: the chart, rendered with each set of values that the tests try, for others to look at."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from chart_rendering import VALUE_SETS, Helm
from sro_cluster.binaries import binary_folder


def main(folder: Path) -> None:
    """One file for each set."""
    helm = Helm(binary_folder() / "helm")
    folder.mkdir(parents=True)
    for name, values in VALUE_SETS.items():
        if name == "as little as can be":
            # It takes away requests, limits and users, which nobody would find fault with who did not ask for that.
            continue
        # The definition has no pod in it, and five thousand lines.
        objects = [each for each in helm.template(values) if each["kind"] != "CustomResourceDefinition"]
        (folder / f"{name.replace(' ', '-')}.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

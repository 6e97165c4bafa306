"""Builds our own distributions into wheels, and lays out the build context of the images."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from sro_cluster.commands import run
from sro_cluster.errors import ClusterError
from sro_cluster.locations import REPOSITORY, cache_root
from sro_cluster.toolchain import find_uv

# Distribution -> its folder in the repository.
_SOURCES = {"sro_api": "crds", "sro_operator": "operator", "sro_screener": "screener_rs", "sro_trainer": "trainer"}
_BUILD_BACKENDS = ("hatchling", "maturin")


def prepare_context(context: Path, distributions: tuple[str, ...]) -> Path:
    """Fills a folder with what the Dockerfiles copy: ``requirements/``, ``examples/data/``, ``dist/`` with fresh wheels."""
    shutil.rmtree(context, ignore_errors=True)
    for folder in ("requirements", "examples/data"):
        shutil.copytree(REPOSITORY / folder, context / folder)
    for distribution in distributions:
        _build_wheel(REPOSITORY / _SOURCES[distribution], context / "dist")
    return context


def _build_wheel(source: Path, destination: Path) -> None:
    uv = find_uv()
    if uv is None:
        raise ClusterError("uv is not installed: it builds the wheels")
    # Where the interpreter has the build backends, none are downloaded.
    has_backends = all(importlib.util.find_spec(name) for name in _BUILD_BACKENDS)
    isolation = ["--no-build-isolation"] if has_backends else []
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # Cargo's own folder: a build of the checkout is neither waited for nor disturbed.
        "CARGO_TARGET_DIR": str(cache_root() / "cargo"),
        # Equal code gives an equal wheel, and the image's layer is found again.
        "SOURCE_DATE_EPOCH": "1577836800",
    }
    command = [str(uv), "build", "--quiet", "--wheel", *isolation, "--python", sys.executable]
    run([*command, "--out-dir", str(destination), str(source)], env=environment)

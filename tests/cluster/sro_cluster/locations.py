"""Where things lie: the repository, and the cache that outlives a checkout."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
COMPONENTS = REPOSITORY / "tests" / "cluster" / "components"


def cache_root() -> Path:
    """The folder for everything built once: ``$SRO_CACHE``, or else ``~/.cache/sro``."""
    return Path(os.environ.get("SRO_CACHE") or Path.home() / ".cache" / "sro").absolute()


def default_directory() -> Path:
    """Where ``up`` keeps a cluster's state unless told otherwise."""
    return cache_root() / "cluster"

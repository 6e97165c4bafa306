"""Reads images straight from buildah's storage (containers/storage, overlay driver).

``buildah push`` writes every layer of an image anew, gzipped: minutes for a change of a few files. A layer's tar can be put
together from the storage instead, byte by byte as it was: ``*.tar-split.gz`` holds all of it but the files' contents.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sro_cluster.errors import ClusterError

# Kinds of entries in a tar-split file: a file's content, to be read from the layer; or bytes, given in base64.
_FILE, _SEGMENT = 1, 2
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image as it is stored; its layers are uncompressed, so a layer's digest is its diff id."""

    manifest: bytes
    config: bytes

    @property
    def config_digest(self) -> str:
        """Names everything in the image."""
        return str(self._parsed()["config"]["digest"])

    @property
    def layers(self) -> dict[str, int]:
        """The layers, lowest first: digest and size in bytes."""
        return {layer["digest"]: layer["size"] for layer in self._parsed()["layers"]}

    def _parsed(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.manifest)
        return parsed


class Storage:
    """The storage below one folder; read while no build writes to it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def image(self, name: str) -> StoredImage:
        """The image of a full name.

        Raises:
            ClusterError: it was not built.
        """
        index = json.loads((self._root / "overlay-images" / "images.json").read_text())
        found = [entry["id"] for entry in index if name in entry.get("names", ())]
        if not found:
            raise ClusterError(f"{name} is not built")
        folder = self._root / "overlay-images" / found[0]
        config = base64.b64encode(f"sha256:{found[0]}".encode()).decode()
        return StoredImage(manifest=(folder / "manifest").read_bytes(), config=(folder / f"={config}").read_bytes())

    def layer(self, digest: str) -> Iterator[bytes]:
        """The tar of a layer, in pieces."""
        index = json.loads((self._root / "overlay-layers" / "layers.json").read_text())
        layer = next(entry["id"] for entry in index if entry.get("diff-digest") == digest)
        difference = self._root / "overlay" / layer / "diff"
        with gzip.open(self._root / "overlay-layers" / f"{layer}.tar-split.gz") as entries:
            for line in entries:
                entry = json.loads(line)
                if entry["type"] == _SEGMENT:
                    yield base64.b64decode(entry["payload"])
                elif entry["type"] == _FILE and entry.get("size"):
                    yield from _content(difference / entry["name"])


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            yield piece

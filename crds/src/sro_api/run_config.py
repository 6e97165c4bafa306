"""The run configuration: what one attempt's trainer processes read, written by the operator or by `sro run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sro_api.base import ApiModel
from sro_api.sources import Roots
from sro_api.v1alpha1 import SROJobSpec

FILE_NAME = "run.json"


class RunConfig(ApiModel):
    """One attempt of one job."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[str, Field(max_length=63)] = "default"
    uid: Annotated[str, Field(max_length=64)] = ""
    attempt: Annotated[int, Field(ge=1, le=100_000)] = 1
    spec: SROJobSpec
    inputs: str
    """Folder below which relative `file:` sources lie."""
    outputs: str
    """Folder below which relative `file:` outputs lie."""
    claims: str = "/mnt/sro"
    """Folder that holds one folder per mounted claim."""
    report_to_cluster: bool = False
    """Whether rank 0 writes `status.progress` through the API server of its pod."""

    @property
    def roots(self) -> Roots:
        """The folders as paths."""
        return Roots(inputs=Path(self.inputs), outputs=Path(self.outputs), claims=Path(self.claims))

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Read a run configuration.

        Raises:
            OSError: the file cannot be read.
            pydantic.ValidationError: it is not a run configuration; the message names the fields.
        """
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    def dump(self) -> str:
        """The file's text; defaults and nulls written out, so that a newer default changes no running job."""
        return self.model_dump_json(by_alias=True, indent=2)

"""A study file, `kind: Study`: one base SROJob, axes that change it, seeds, and what is to be compared.

A study is no object of a cluster: `sro study` expands it into ordinary SROJobs (see `sro_api.study_cells`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from sro_api.base import ApiModel, Manifest
from sro_api.fields import StorageUri

CELL_AXIS = "cell"
"""Selectors address a setting of `include` by this name in place of an axis."""
Baseline = Literal["untrained", "before", "duplicate", "delete", "mask-infill", "reference"]
"""A rewriter that every finished cell's report measures on the same rows, beside the trained leader."""

Word = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""Lower case letters, digits and dashes: words become parts of the names of jobs."""
Seed = Annotated[int, Field(ge=0, le=4_294_967_295)]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Choice = Annotated[tuple[Word, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=64)]
"""One word or several."""
Selector = Annotated[dict[Word, Choice], Field(max_length=16)]
"""Settings at which each named axis has one of these values; axes that are not named may have any."""


class StudyBase(ApiModel):
    """The job that every cell starts from: exactly one of `file` and `spec`."""

    file: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A file with one SROJob, relative to the study file."""
    spec: Manifest | None = None
    """The spec of an SROJob, as in a manifest; `output` may be left out, since the study decides it."""

    @model_validator(mode="after")
    def _one_of_both(self) -> StudyBase:
        if (self.file is None) == (self.spec is None):
            raise ValueError("must have exactly one of file and spec")
        return self


class StudyValue(ApiModel):
    """One value of an axis."""

    name: Word
    """Part of the names of its cells."""
    patch: Manifest = {}
    """What it changes in the base's spec: a JSON merge patch (RFC 7386), in which null takes a field away."""
    number: float | None = None
    """Where the value lies on the x axis of a curve."""


class StudyAxis(ApiModel):
    """Something that is varied."""

    name: Word
    values: Annotated[tuple[StudyValue, ...], Field(min_length=1, max_length=64)]


class StudyPatch(ApiModel):
    """A change that belongs to a combination of values, applied after those of the values."""

    where: Selector
    patch: Manifest


class StudyInclude(ApiModel):
    """A setting beside the grid."""

    name: Word
    patch: Manifest = {}
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=64)] | None = None


class StudySeeds(ApiModel):
    """Other seeds for some settings; of several rules that match, the last holds."""

    where: Selector
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=64)]


class StudySide(ApiModel):
    """One side of a comparison: exactly one of `cells` and `baseline`."""

    cells: Selector | None = None
    """All cells of the settings that match, averaged row by row."""
    baseline: Baseline | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> StudySide:
        if (self.cells is None) == (self.baseline is None):
            raise ValueError("must have exactly one of cells and baseline")
        return self


class StudyComparison(ApiModel):
    """A paired difference on the same evaluation rows."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    of: StudySide
    against: StudySide
    figure: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-zA-Z0-9]*$")] = "joint"
    """A figure of `status.evaluation`, by its name there."""
    clean: StudySide | None = None
    """Where `against` is a harmed cell: the unharmed one. The report then says which share of the harm `of` wins back."""


class StudyCurve(ApiModel):
    """One plot per value of `panels`, one line per value of `lines`, over the numbers of the axis `x`."""

    x: Word
    lines: Word
    panels: Word
    figure: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-zA-Z0-9]*$")] = "joint"


class StudyOutput(ApiModel):
    """Where the study's results go."""

    uri: StorageUri
    """Folder of `cells/NAME/`, each an output folder of a job, and of the report. Relative `file:` paths start at the current
    folder."""
    keep_models: bool = False
    """Keep each finished cell's model and checkpoints. Otherwise its figures, evaluations and logs stay, and its weights go."""


class StudySpec(ApiModel):
    """What is varied, how often, and what is compared."""

    base: StudyBase
    axes: Annotated[tuple[StudyAxis, ...], Field(max_length=8)] = ()
    """The grid: every combination of one value each. Settings whose specs come out equal are trained once."""
    patches: Annotated[tuple[StudyPatch, ...], Field(max_length=256)] = ()
    include: Annotated[tuple[StudyInclude, ...], Field(max_length=256)] = ()
    exclude: Annotated[tuple[Selector, ...], Field(max_length=256)] = ()
    """Settings of the grid that are left out."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=64)] = (0,)
    """One cell per setting and seed; a seed takes the place of `optimization.seed`."""
    seeds_where: Annotated[tuple[StudySeeds, ...], Field(max_length=256)] = ()
    selections: Annotated[dict[Word, Annotated[tuple[Selector, ...], Field(min_length=1)]], Field(max_length=32)] = {}
    """Parts of the study by name, for `--select`: settings that match any of the selectors."""
    shared_warm_start: bool = False
    """Train the base's warm start once, as a cell of its own before all others, which then load it."""
    baselines: Annotated[tuple[Baseline, ...], Field(max_length=16)] = ("before",)
    """Rewriters that the report's table shows beside the cells."""
    comparisons: Annotated[tuple[StudyComparison, ...], Field(max_length=256)] = ()
    curves: Annotated[tuple[StudyCurve, ...], Field(max_length=16)] = ()
    cell_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """A cell that takes longer on this machine is stopped after a checkpoint and recorded as failed; not the shared warm start."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 4
    """How many jobs may run at once on a cluster; on one machine cells run in turn."""
    output: StudyOutput


class StudyMetadata(ApiModel):
    """The study's name."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    """Begins the name of every job."""


class Study(ApiModel):
    """A study file."""

    api_version: Literal["sro.dev/v1alpha1"] = "sro.dev/v1alpha1"
    kind: Literal["Study"] = "Study"
    metadata: StudyMetadata
    spec: StudySpec

    @property
    def name(self) -> str:
        """Of the study."""
        return self.metadata.name

"""Study files: read, and refused with file, line, field, value and rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sro_api.admission import admit, line_of, validate_manifest
from sro_api.base import Manifest
from sro_api.labels import KIND
from sro_api.structural import Problem
from sro_api.study import CELL_AXIS, Selector, Study, StudySide
from sro_api.study_cells import Cell, expand

STUDY_KIND = "Study"
_DECIDED = {
    "output": "spec.output of the study",
    "optimization.seed": "spec.seeds of the study",
    "leader.warmStartFrom": "spec.sharedWarmStart of the study",
}
"""Fields of a cell that the study decides."""
_SHARED = ("model", "tokenizer", "task", "promptTemplate", "adapter", "warmStart", "dtype")
"""Fields of the leader on which a warm start depends."""


class StudyFileError(ValueError):
    """A study file that cannot be used; one line per problem."""

    def __init__(self, problems: tuple[Problem, ...], file: Path) -> None:
        """Keep what is wrong."""
        super().__init__("\n".join(f"{file}:{problem.line or 1}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """A study and what its file stands for."""

    study: Study
    base: Manifest
    """The spec of the base."""
    inputs: Path
    """Folder that relative `file:` sources start from: that of the base's file, or of the study file."""

    def cells(self, output: str | None = None) -> tuple[Cell, ...]:
        """The cells, in the order in which they run.

        Args:
            output: URI of the study's folder, in place of the file's.
        """
        return expand(self.study, self.base, output=(output or self.study.spec.output.uri).rstrip("/"))


def load_study(file: Path) -> StudyFile:
    """Read a study.

    Raises:
        StudyFileError: the file cannot be read, or it or one of its cells breaks a rule.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError((Problem(path="", message=str(error)),), file) from error
    found = _read(text, file.parent)
    if isinstance(found, StudyFile):
        return found
    raise StudyFileError(found, file)


def study_problems(text: str, folder: Path) -> tuple[Problem, ...]:
    """What is wrong with a study's text, each problem with its line; empty if it can be used.

    Args:
        text: of the study file.
        folder: that it lies in.
    """
    found = _read(text, folder)
    return () if isinstance(found, StudyFile) else found


def is_study(text: str) -> bool:
    """Whether a YAML text is a study and no manifest."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        return False
    return any(isinstance(document, dict) and document.get("kind") == STUDY_KIND for document in documents)


def _read(text: str, folder: Path) -> StudyFile | tuple[Problem, ...]:
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return (
            Problem(path="", message=f"is not YAML: {error}".splitlines()[0], line=mark.line + 1 if mark else None),
        )
    if len(documents) != 1:
        return (Problem(path="", message=f"holds {len(documents)} documents; a study file has one"),)
    found = _study_of(documents[0], folder)
    if isinstance(found, StudyFile):
        return found
    return tuple(replace(problem, line=line_of(nodes[0], problem.path)) for problem in found)


def _study_of(document: Any, folder: Path) -> StudyFile | tuple[Problem, ...]:
    try:
        study = Study.model_validate(document)
    except ValidationError as error:
        return tuple(_model_problem(entry) for entry in error.errors())
    base, inputs, problems = _base_of(study, folder)
    problems += [*_selector_problems(study), *_name_problems(study), *_patch_problems(study)]
    if study.spec.shared_warm_start and not problems:
        problems += _sharing_problems(study, base)
    if problems:
        return tuple(problems)
    file = StudyFile(study=study, base=base, inputs=inputs)
    return tuple(_cell_problems(file)) or file


def _model_problem(entry: Any) -> Problem:
    path = ""
    for part in entry["loc"]:
        path = f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}".lstrip(".")
    message = str(entry["msg"]).removeprefix("Value error, ")
    given = entry["input"]
    if entry["type"] == "missing":
        return Problem(path=path, message="Required value")
    if entry["type"] == "extra_forbidden":
        return Problem(path=path, message="is no field of a study")
    shown = "" if isinstance(given, (dict, list)) else f"{given!r}: "
    return Problem(path=path, message=f"Invalid value: {shown}{message}")


def _base_of(study: Study, folder: Path) -> tuple[Manifest, Path, list[Problem]]:
    given = study.spec.base
    if given.spec is not None:
        return given.spec, folder, []
    file = folder / str(given.file)
    where = "spec.base.file"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return {}, folder, [Problem(path=where, message=f"Invalid value: {given.file!r}: {error}")]
    if problems := validate_manifest(text):
        return {}, folder, [Problem(path=where, message=f"{file}:{entry.line or 1}: {entry}") for entry in problems]
    jobs = [entry for entry in yaml.safe_load_all(text) if entry and entry.get("kind") == KIND]
    if len(jobs) != 1:
        return (
            {},
            folder,
            [Problem(path=where, message=f"Invalid value: {given.file!r}: holds {len(jobs)} jobs, not one")],
        )
    return jobs[0]["spec"], file.parent, []


def _name_problems(study: Study) -> Iterator[Problem]:
    spec = study.spec
    named = {"spec.axes": [axis.name for axis in spec.axes], "spec.include": [entry.name for entry in spec.include]}
    named |= {f"spec.axes[{n}].values": [value.name for value in axis.values] for n, axis in enumerate(spec.axes)}
    for path, names in named.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Problem(path=f"{path}[{index}].name", message=f"Duplicate value: {name!r}")
    if CELL_AXIS in named["spec.axes"]:
        yield Problem(
            path=f"spec.axes[{named['spec.axes'].index(CELL_AXIS)}].name",
            message=f"Invalid value: {CELL_AXIS!r}: selectors call settings of spec.include by this name",
        )
    if not spec.axes and not spec.include:
        yield Problem(path="spec.axes", message="Required value: a study has axes or include")


def _selector_problems(study: Study) -> Iterator[Problem]:
    spec = study.spec
    known = {axis.name: {value.name for value in axis.values} for axis in spec.axes}
    known[CELL_AXIS] = {entry.name for entry in spec.include}
    for path, selector in _selectors(study):
        for axis, values in selector.items():
            if axis not in known:
                yield Problem(path=f"{path}.{axis}", message=f"Invalid value: no such axis; there are {_listed(known)}")
                continue
            for value in values:
                if value not in known[axis]:
                    yield Problem(
                        path=f"{path}.{axis}",
                        message=f"Invalid value: {value!r}: no such value; there are {_listed(known[axis])}",
                    )
    for index, curve in enumerate(spec.curves):
        for field in ("x", "lines", "panels"):
            if getattr(curve, field) not in known:
                yield Problem(
                    path=f"spec.curves[{index}].{field}",
                    message=f"Invalid value: {getattr(curve, field)!r}: no such axis; there are {_listed(known)}",
                )
        numbers = [value.number for axis in spec.axes if axis.name == curve.x for value in axis.values]
        if None in numbers:
            yield Problem(
                path=f"spec.curves[{index}].x", message=f"Invalid value: {curve.x!r}: every value of it needs a number"
            )


def _selectors(study: Study) -> Iterator[tuple[str, Selector]]:
    spec = study.spec
    yield from ((f"spec.exclude[{index}]", selector) for index, selector in enumerate(spec.exclude))
    yield from ((f"spec.patches[{index}].where", entry.where) for index, entry in enumerate(spec.patches))
    yield from ((f"spec.seedsWhere[{index}].where", entry.where) for index, entry in enumerate(spec.seeds_where))
    for name, selectors in spec.selections.items():
        yield from ((f"spec.selections.{name}[{index}]", selector) for index, selector in enumerate(selectors))
    for index, entry in enumerate(spec.comparisons):
        sides: dict[str, StudySide | None] = {"of": entry.of, "against": entry.against, "clean": entry.clean}
        for name, side in sides.items():
            if side is not None and side.cells is not None:
                yield f"spec.comparisons[{index}].{name}.cells", side.cells


def _patch_problems(study: Study) -> Iterator[Problem]:
    spec = study.spec
    patches = [
        (f"spec.axes[{n}].values[{m}].patch", value.patch)
        for n, axis in enumerate(spec.axes)
        for m, value in enumerate(axis.values)
    ]
    patches += [(f"spec.patches[{n}].patch", entry.patch) for n, entry in enumerate(spec.patches)]
    patches += [(f"spec.include[{n}].patch", entry.patch) for n, entry in enumerate(spec.include)]
    for path, patch in patches:
        for field, decider in _DECIDED.items():
            if _has(patch, field):
                yield Problem(path=f"{path}.{field}", message=f"Forbidden: is decided by {decider}")
        if spec.shared_warm_start:
            for name in _SHARED:
                if _has(patch, f"leader.{name}"):
                    yield Problem(
                        path=f"{path}.leader.{name}",
                        message="Forbidden: cells that share a warm start share the leader; set spec.sharedWarmStart to false",
                    )


def _sharing_problems(study: Study, base: Manifest) -> list[Problem]:
    where = "spec.base.file" if study.spec.base.spec is None else "spec.base.spec.leader.warmStart"
    leader = base.get("leader")
    if not isinstance(leader, dict) or "warmStart" not in leader:
        return [Problem(path=where, message="Required value: spec.sharedWarmStart needs it in the base")]
    return []


def _cell_problems(file: StudyFile) -> Iterator[Problem]:
    """What the API server would say to each cell; a problem of many cells is told once."""
    told: set[tuple[str, str]] = set()
    for cell in file.cells():
        for problem in admit(cell.manifest):
            if (problem.path, problem.message) not in told:
                told.add((problem.path, problem.message))
                yield Problem(path="", message=f"cell {cell.name}: {problem}")


def _has(patch: Manifest, path: str) -> bool:
    part: Any = patch
    for key in path.split("."):
        if not isinstance(part, dict) or key not in part:
            return False
        part = part[key]
    return True


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"

"""From a study to its cells, each an ordinary SROJob. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sro_api import labels
from sro_api.base import Manifest
from sro_api.study import CELL_AXIS, Selector, Study

WARM_START = "warm-start"
"""Ends the name of the cell that trains the shared warm start."""
Coordinates = dict[str, str]
"""A place of the grid: the value of each axis, by its name."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a study."""

    name: str
    """Of the job."""
    setting: str
    """The name without the seed: cells of one setting differ in their seed alone."""
    coordinates: tuple[Coordinates, ...]
    """Where in the study it lies: more than one place where several come out as the same spec."""
    seed: int | None
    """None for the shared warm start."""
    turn: int
    """Cells of a lower turn run first: the warm start, then every setting's first seed, then the second seeds."""
    manifest: Manifest

    @property
    def is_warm_start(self) -> bool:
        """Whether it trains the shared warm start and nothing else."""
        return self.seed is None


@dataclass(frozen=True, kw_only=True)
class _Setting:
    name: str
    coordinates: tuple[Coordinates, ...]
    spec: Manifest
    seeds: tuple[int, ...]


def expand(study: Study, base: Manifest, *, output: str) -> tuple[Cell, ...]:
    """The cells of a study, in the order in which they run.

    Args:
        study: whose selectors name axes and values that there are (see `sro_api.study_file`).
        base: the spec of its base.
        output: URI of the study's folder, without a slash at the end.
    """
    cells = []
    if study.spec.shared_warm_start:
        cells.append(_warm_start_cell(study, base, output))
        base = with_shared_warm_start(base, cells[0].name, output)
    for setting in _unique(_settings(study, base)):
        cells += _cells_of(setting, study, output)
    return tuple(sorted(cells, key=lambda cell: cell.turn))


def merge_patch(target: Manifest, patch: Manifest) -> Manifest:
    """A JSON merge patch (RFC 7386) applied: objects merge, null takes a field away, anything else takes its place."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge_patch(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def matches(selector: Selector, coordinates: Coordinates) -> bool:
    """Whether a place of the grid is one of those that a selector means."""
    return all(coordinates.get(axis) in values for axis, values in selector.items())


def selected(cells: Iterable[Cell], selectors: Iterable[Selector]) -> tuple[Cell, ...]:
    """The cells at a place that any of the selectors means."""
    wanted = tuple(selectors)
    return tuple(cell for cell in cells if any(matches(selector, at) for selector in wanted for at in cell.coordinates))


def cell_folder(output: str, name: str) -> str:
    """URI of one cell's output folder."""
    return f"{output}/cells/{name}"


def with_shared_warm_start(base: Manifest, cell: str, output: str) -> Manifest:
    """The spec of a job that loads the warm start of another one."""
    leader = {key: value for key, value in base["leader"].items() if key != "warmStart"}
    leader["warmStartFrom"] = cell_folder(output, cell)
    return {**base, "leader": leader}


def _warm_start_cell(study: Study, base: Manifest, output: str) -> Cell:
    """The base without a game."""
    name = f"{study.name}-{WARM_START}"
    plan = {key: value for key, value in base.get("optimization", {}).items() if key not in ("steps", "epochs")}
    # Nothing rises over no steps.
    spec = {**base, "optimization": {**plan, "steps": 0, "warmupSteps": 0}}
    return Cell(
        name=name, setting=name, coordinates=(), seed=None, turn=0, manifest=_manifest(study, name, spec, output)
    )


def _settings(study: Study, base: Manifest) -> Iterator[_Setting]:
    axes = study.spec.axes
    for values in itertools.product(*(axis.values for axis in axes)) if axes else ():
        at = {axis.name: value.name for axis, value in zip(axes, values, strict=True)}
        if any(matches(selector, at) for selector in study.spec.exclude):
            continue
        patches = [value.patch for value in values]
        patches += [entry.patch for entry in study.spec.patches if matches(entry.where, at)]
        name = "-".join([study.name, *at.values()])
        yield _Setting(
            name=name, coordinates=(at,), spec=_patched(base, patches), seeds=_seeds(study, at, study.spec.seeds)
        )
    for entry in study.spec.include:
        at = {CELL_AXIS: entry.name}
        seeds = _seeds(study, at, entry.seeds or study.spec.seeds)
        name = f"{study.name}-{entry.name}"
        yield _Setting(name=name, coordinates=(at,), spec=_patched(base, [entry.patch]), seeds=seeds)


def _patched(base: Manifest, patches: Iterable[Manifest]) -> Manifest:
    for patch in patches:
        base = merge_patch(base, patch)
    return base


def _seeds(study: Study, at: Coordinates, seeds: tuple[int, ...]) -> tuple[int, ...]:
    for entry in study.spec.seeds_where:
        if matches(entry.where, at):
            seeds = entry.seeds
    return tuple(dict.fromkeys(seeds))


def _unique(settings: Iterable[_Setting]) -> list[_Setting]:
    """Settings of one spec become one, at all their places and with all their seeds, under the first one's name."""
    found: dict[str, _Setting] = {}
    for setting in settings:
        identity = json.dumps(setting.spec, sort_keys=True)
        if identity in found:
            first = found[identity]
            setting = _Setting(
                name=first.name,
                coordinates=(*first.coordinates, *setting.coordinates),
                spec=first.spec,
                seeds=tuple(dict.fromkeys((*first.seeds, *setting.seeds))),
            )
        found[identity] = setting
    return list(found.values())


def _cells_of(setting: _Setting, study: Study, output: str) -> Iterator[Cell]:
    for turn, seed in enumerate(setting.seeds, start=1):
        name = f"{setting.name}-s{seed}"
        spec = merge_patch(setting.spec, {"optimization": {"seed": seed}})
        yield Cell(
            name=name,
            setting=setting.name,
            coordinates=setting.coordinates,
            seed=seed,
            turn=turn,
            manifest=_manifest(study, name, spec, output),
        )


def _manifest(study: Study, name: str, spec: Manifest, output: str) -> Manifest:
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.KIND,
        "metadata": {"name": name, "labels": {labels.STUDY_LABEL: study.name}},
        "spec": {**spec, "output": {"uri": cell_folder(output, name)}},
    }

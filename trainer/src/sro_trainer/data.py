"""Texts for the players: read, cleaned, counted, and split by the seed so that nobody is judged on rows it has seen."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sro_api.sources import Roots
from sro_api.training import DataSource, ParallelSource
from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.references import NO_REFERENCES, References, load_references
from sro_trainer.rows import read_rows


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The rows of a run, each in one part only, in the order that the split seed gave."""

    leader_toxic: tuple[str, ...]
    """Toxic sources that the leader learns from."""
    screener_toxic: tuple[str, ...]
    """Toxic texts from which the screener is fitted; empty if it is not fitted from the job's own rows."""
    neutral: tuple[str, ...]
    """Neutral texts, for the screener's fit and the warm start; in the order of the file."""
    evaluation: tuple[str, ...]
    """Toxic sources that are only measured."""
    parallel: tuple[tuple[str, str], ...] = ()
    """Toxic texts with a person's neutral paraphrase, none of them measured; empty unless the spec has such a source."""
    certain_toxic: tuple[str, ...] = ()
    """Toxic texts that a screener fitted here has not seen, to learn how it errs; empty unless the method needs them."""
    certain_neutral: tuple[str, ...] = ()
    """The same of neutral texts, which are in `neutral` too."""
    fingerprint: str
    """SHA-256 over all parts: equal fingerprints mean equal rows in equal order."""
    counts: dict[str, int]
    """Rows read, dropped and kept, by name."""
    references: References = NO_REFERENCES
    """Paraphrases by people of the evaluation rows."""

    @property
    def screener_neutral(self) -> tuple[str, ...]:
        """Neutral texts from which the screener is fitted."""
        kept = frozenset(self.certain_neutral)
        return tuple(text for text in self.neutral if text not in kept)


def load_datasets(spec: SROJobSpec, roots: Roots) -> Datasets:
    """Read every source of `spec.data` and split the rows.

    Raises:
        DataError: a source is unusable, or has too few rows for the split.
        ConfigurationError: a source's URI is.
    """
    counts: dict[str, int] = {}
    toxic = load_texts(spec.data.toxic, roots, "spec.data.toxic", counts)
    neutral: tuple[str, ...] = ()
    if spec.data.neutral is not None:
        neutral = _without(load_texts(spec.data.neutral, roots, "spec.data.neutral", counts), toxic, "neutral", counts)
    generator = random.Random(spec.data.split_seed)
    evaluation, rest = _hold_out(spec, roots, toxic, generator, counts)
    references = NO_REFERENCES
    if spec.evaluation.references is not None:
        references = load_references(spec.evaluation.references, roots, evaluation)
        # Where the neutral text is a column of the same file, the answers must not be learnt from.
        kept = tuple(text for text in neutral if text not in references.every)
        counts["neutral_references"] = len(neutral) - len(kept)
        neutral = kept
    screener_toxic, leader_toxic = _share(spec, rest)
    certain: tuple[str, ...] = ()
    certain_neutral: tuple[str, ...] = ()
    if spec.method.needs_certain_rows:
        certain, screener_toxic = _certain_toxic(spec, screener_toxic, leader_toxic)
        certain_neutral = _certain_neutral(spec, neutral)
    parts = {"leader": leader_toxic, "screener": screener_toxic, "neutral": neutral, "evaluation": evaluation}
    parallel: tuple[tuple[str, str], ...] = ()
    if spec.data.parallel is not None:
        parallel = load_pairs(spec.data.parallel, roots, frozenset(evaluation), counts)
        parts |= {"parallel toxic": tuple(x for x, _ in parallel), "parallel neutral": tuple(y for _, y in parallel)}
    counts |= {f"{name.replace(' ', '_')}_rows": len(texts) for name, texts in parts.items()}
    return Datasets(
        leader_toxic=leader_toxic,
        screener_toxic=screener_toxic,
        neutral=neutral,
        evaluation=evaluation,
        parallel=parallel,
        certain_toxic=certain,
        certain_neutral=certain_neutral,
        fingerprint=fingerprint(parts.values()),
        counts=counts,
        references=references,
    )


def load_texts(source: DataSource, roots: Roots, field: str, counts: dict[str, int]) -> tuple[str, ...]:
    """The stripped texts of one source, empty and repeated ones dropped.

    Args:
        source: what to read.
        roots: where relative and claim URIs start.
        field: the field of the spec to name in an error.
        counts: receives `<part>_read`, `<part>_empty` and `<part>_repeated`.

    Raises:
        DataError: the source cannot be read or no row is left.
    """
    rows = read_rows(source, roots, field)
    texts = [stripped for row in rows if (stripped := row.strip())]
    unique = tuple(dict.fromkeys(texts))
    if not unique:
        raise DataError(f"{field}: {source.uri!r} has no rows: {len(rows)} read, all of them empty")
    part = field.rsplit(".", 1)[-1]
    counts |= {
        f"{part}_read": len(rows),
        f"{part}_empty": len(rows) - len(texts),
        f"{part}_repeated": len(texts) - len(unique),
    }
    return unique


def load_pairs(
    source: ParallelSource, roots: Roots, measured: frozenset[str], counts: dict[str, int]
) -> tuple[tuple[str, str], ...]:
    """The stripped pairs of a source in file order; those with an empty side, a measured source or a twin are dropped.

    Args:
        source: what to read.
        roots: where relative and claim URIs start.
        measured: evaluated sources, which nothing may be learnt of.
        counts: receives `parallel_read` and `parallel_measured`.

    Raises:
        DataError: the source cannot be read or no pair is left.
    """
    toxic, neutral = (
        read_rows(
            DataSource(uri=source.uri, format=source.format, column=column, max_rows=source.max_rows), roots,
            "spec.data.parallel",
        )
        for column in (source.toxic_column, source.neutral_column)
    )  # fmt: skip
    pairs = [(x.strip(), y.strip()) for x, y in zip(toxic, neutral, strict=True)]
    whole = tuple(dict.fromkeys((x, y) for x, y in pairs if x and y))
    kept = tuple((x, y) for x, y in whole if x not in measured)
    counts |= {"parallel_read": len(pairs), "parallel_measured": len(whole) - len(kept)}
    if not kept:
        raise DataError(f"spec.data.parallel: {source.uri!r} has no pairs to learn from: {len(pairs)} read")
    return kept


def fingerprint(parts: Iterable[Sequence[str]]) -> str:
    """SHA-256 in hexadecimal over lists of texts, sensitive to order and to where one list ends."""
    return hashlib.sha256(json.dumps([list(part) for part in parts]).encode()).hexdigest()


def fits_own_rows(spec: SROJobSpec) -> bool:
    """Whether the training screener is fitted from the job's own toxic rows, which it then keeps to itself."""
    screener = spec.screener
    own_fit = screener.fit is None or screener.fit.toxic is None
    return screener.type == "NBLogistic" and screener.model is None and own_fit


def _hold_out(
    spec: SROJobSpec, roots: Roots, toxic: tuple[str, ...], generator: random.Random, counts: dict[str, int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    wanted = spec.data.evaluation_rows
    if spec.data.evaluation is not None:
        evaluation = load_texts(spec.data.evaluation, roots, "spec.data.evaluation", counts)
        evaluation = _shuffled(evaluation, generator)[:wanted]
        return evaluation, _shuffled(_without(toxic, evaluation, "toxic", counts), generator)
    if len(toxic) <= wanted:
        raise DataError(f"spec.data.evaluationRows: {wanted} leaves none of the {len(toxic)} toxic rows to train on")
    shuffled = _shuffled(toxic, generator)
    return shuffled[:wanted], shuffled[wanted:]


def _share(spec: SROJobSpec, rest: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The screener's rows and the leader's."""
    if not rest:
        raise DataError("spec.data.toxic: no toxic rows are left to train on once the evaluation rows are taken out")
    if not fits_own_rows(spec):
        return (), rest
    taken = round(len(rest) * spec.data.screener_share)
    if taken == 0 or taken == len(rest):
        short = "the screener" if taken == 0 else "the leader"
        raise DataError(
            f"spec.data.screenerShare: {spec.data.screener_share} of {len(rest)} toxic rows leaves {short} none"
        )
    return rest[:taken], rest[taken:]


def _certain_toxic(
    spec: SROJobSpec, screener: tuple[str, ...], leader: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Toxic rows that the screener is not fitted on, and the screener's other rows.

    Without a fit of its own they are rows of the leader, which learns from them as well: their verdict is certain all the same.
    """
    count, own = spec.method.verdict_noise.certain_rows, fits_own_rows(spec)
    rows = screener if own else leader
    if len(rows) < count * (2 if own else 1):
        raise DataError(
            f"spec.method.verdictNoise.certainRows: {count} of {len(rows)} toxic rows would leave too few to fit the screener"
            if own
            else f"spec.method.verdictNoise.certainRows: {count}, but there are {len(rows)} toxic rows"
        )
    return rows[:count], screener[count:] if own else screener


def _certain_neutral(spec: SROJobSpec, neutral: tuple[str, ...]) -> tuple[str, ...]:
    count = spec.method.verdict_noise.certain_rows
    if len(neutral) < 2 * count:
        raise DataError(
            f"spec.method.verdictNoise.certainRows: {count} of {len(neutral)} neutral rows would leave too few to fit the screener"
        )
    return _shuffled(neutral, random.Random(f"{spec.data.split_seed}/certain"))[:count]


def _without(texts: tuple[str, ...], others: Iterable[str], part: str, counts: dict[str, int]) -> tuple[str, ...]:
    excluded = frozenset(others)
    kept = tuple(text for text in texts if text not in excluded)
    counts[f"{part}_in_other_part"] = len(texts) - len(kept)
    if not kept:
        raise ConfigurationError(f"spec.data.{part}: every row is also in another part of the data")
    return kept


def _shuffled(texts: tuple[str, ...], generator: random.Random) -> tuple[str, ...]:
    return tuple(generator.sample(texts, len(texts)))

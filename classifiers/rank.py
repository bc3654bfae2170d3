"""Quality buckets: documents ranked by one score or several, exactly, among all of a source or of a group.

    rankers = open_rankers(settings)              # the models, opened
    scores = measure(settings, rankers, table)    # float32, (documents, scores); NaN where there is none
    cuts = find_cuts(settings, read)              # over all files: the scores between buckets
    found = buckets(settings, scores, groups, cuts)

Higher is better: columns of which lower is better are turned. A document's bucket by one score is the number
of cuts that its score lies above, so that equal scores share a bucket; of several scores the highest bucket
counts, as in Nemotron-CC (Su et al. 2024, section 2), or their mean. A score that is missing does not count;
a document without any is in bucket 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.quality.classifier import Scorer
from gristmill.classifiers.quantiles import quantiles
from gristmill.classifiers.topics.settings import QualitySettings
from gristmill.errors import InputError

Scores = npt.NDArray[np.float32]
Cuts = Mapping[str, Mapping[str, Sequence[float]]]  # by score, then by group; "" is all of the source
Read = Callable[[], Iterable[tuple[Sequence[str], Scores]]]  # groups and scores of each file, in order

COLUMN = {"topic": "topic", "language": "language"}  # what names the group of a document


def names_of(settings: QualitySettings) -> list[str]:
    """The scores' names, in the order of their columns."""
    return [*settings.columns, *settings.models]


def open_rankers(settings: QualitySettings) -> dict[str, Scorer]:
    return {name: Scorer(model.as_classifier(), Path(model.path)) for name, model in settings.models.items()}


def measure(settings: QualitySettings, rankers: Mapping[str, Scorer], table: pa.Table) -> Scores:
    """The scores of documents, higher being better. Raises InputError for a column that they lack."""
    found = np.full((table.num_rows, len(names_of(settings))), np.nan, np.float32)
    for place, (name, better) in enumerate(settings.columns.items()):
        if name not in table.schema.names:
            raise InputError(
                f"`quality.columns` names `{name}`, documents carry {', '.join(table.schema.names)}",
                hint=f"of rows read from files it comes along with `passthrough: {{{name}: float64}}`",
            )
        values = pc.fill_null(table[name].cast(pa.float32()), np.nan).to_numpy()
        found[:, place] = values if better == "higher" else -values
    for place, name in enumerate(settings.models, len(settings.columns)):
        found[:, place] = rankers[name].score(table)
    return found


def groups_of(settings: QualitySettings, table: pa.Table) -> list[str]:
    """The group that each document is ranked in; "" is all of the source."""
    if settings.within == "source":
        return [""] * table.num_rows
    column = COLUMN[settings.within]
    if column not in table.schema.names:
        raise InputError(
            f"`quality.within` is {settings.within}, documents have no column `{column}`",
            hint="topics come from a `topics` section, or a column of that name in your rows",
        )
    return [name or "" for name in table[column].to_pylist()]


def find_cuts(settings: QualitySettings, read: Read) -> dict[str, dict[str, list[float]]]:
    """The scores between buckets: by score and by group, of groups with `min_group` scores and more; those of
    all documents under ""."""

    def sizes(total: int) -> list[int]:
        return [total * cut // settings.buckets for cut in range(1, settings.buckets)]

    def column(place: int) -> Callable[[], Iterable[tuple[str, Scores]]]:
        def parts() -> Iterable[tuple[str, Scores]]:
            for groups, scores in read():
                values = np.ascontiguousarray(scores[:, place])
                known = ~np.isnan(values)
                yield "", values[known]
                own = np.array(groups, object)
                for group in sorted({name for name in groups if name}):
                    yield group, values[known & (own == group)]

        return parts

    found = {}
    for place, name in enumerate(names_of(settings)):
        counts: dict[str, int] = {}
        for group, values in column(place)():
            counts[group] = counts.get(group, 0) + len(values)
        cuts = quantiles(column(place), sizes, below=-np.inf)
        found[name] = {
            group: own for group, own in cuts.items() if not group or counts[group] >= settings.min_group
        }
    return found


def buckets(
    settings: QualitySettings, scores: Scores, groups: Sequence[str], cuts: Cuts
) -> npt.NDArray[np.int64]:
    """The bucket of each document, 0 the lowest."""
    each = np.full(scores.shape, -1, np.int64)
    named = np.array(groups, object)
    for place, name in enumerate(names_of(settings)):
        bounds = cuts[name]
        for group in sorted(set(groups)):
            rows = np.flatnonzero(named == group)
            own = np.asarray(bounds.get(group, bounds.get("", ())), np.float64)
            each[rows, place] = np.searchsorted(own, scores[rows, place], side="left")
    each[np.isnan(scores)] = -1
    if settings.ensemble == "max":
        return np.asarray(np.maximum(each.max(axis=1, initial=-1), 0), np.int64)
    known = each >= 0
    return np.asarray(np.where(known, each, 0).sum(1) // np.maximum(known.sum(1), 1))

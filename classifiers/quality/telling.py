"""What a classifier keeps by language and by length, beside what it was taught of each: plain counts that add
up over files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.quality.classifier import Scorer
from gristmill.classifiers.quality.teaching import length_group

Counts = dict[str, dict[str, dict[str, float]]]  # what (language, length) -> group -> documents, kept, ...
_NAMED = 12  # languages that a warning names


class Groups:
    """Count documents, those kept, those without a score, and the sum of scores, per language and length."""

    def __init__(self) -> None:
        self._found: Counts = {"language": {}, "length": {}}

    def add(self, table: pa.Table, kept: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32]) -> None:
        lengths = pc.fill_null(pc.utf8_length(table["text"]), 0).to_pylist()
        languages = (
            table["language"].to_pylist() if "language" in table.schema.names else [None] * table.num_rows
        )
        keys = {
            "language": [language or "" for language in languages],
            "length": [length_group(length) for length in lengths],
        }
        missing = np.isnan(scores)
        for what, names in keys.items():
            places = np.array(names)
            for key in sorted(set(names)):
                mine = places == key
                row = self._found[what].setdefault(
                    key, {"documents": 0, "kept": 0, "too_little": 0, "score": 0.0}
                )
                row["documents"] += int(mine.sum())
                row["kept"] += int((mine & kept).sum())
                row["too_little"] += int((mine & missing).sum())
                row["score"] += float(scores[mine & ~missing].sum(dtype=np.float64))

    def facts(self) -> Counts:
        return {what: dict(sorted(rows.items())) for what, rows in self._found.items()}


def merged(parts: Iterable[Mapping[str, Any]]) -> Counts:
    """Add up the groups of several files."""
    total: Counts = {"language": {}, "length": {}}
    for part in parts:
        for what, rows in part.items():
            for key, row in rows.items():
                mine = total[what].setdefault(key, dict.fromkeys(row, 0))
                for name, value in row.items():
                    mine[name] += value
    return {what: dict(sorted(rows.items())) for what, rows in total.items()}


def warnings(groups: Counts, scorer: Scorer) -> list[str]:
    """Name the languages that documents were scored in though a class of the classifier hardly taught
    them."""
    scored = {
        language: int(row["documents"] - row["too_little"])
        for language, row in groups["language"].items()
        if row["documents"] > row["too_little"] and scorer.untaught(language)
    }
    if not scored:
        return []
    largest = sorted(scored, key=lambda language: (-scored[language], language))
    named = ", ".join(f"{language or 'unknown'} ({scored[language]:,})" for language in largest[:_NAMED])
    more = f" and {len(largest) - _NAMED} more languages" if len(largest) > _NAMED else ""
    least = scorer.settings.min_language_passages
    return [
        f"documents were scored in languages that the classifier knows from fewer than {least} passages of"
        f" one of its classes: {named}{more}; such a score tells the language rather than the quality: train"
        " on both classes of it (`classify.classifier.by: language`), or filter by language before"
    ]

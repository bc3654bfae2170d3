"""A run beside a published set, by URL: what they have and we do not, because of which step and rule, and the
other way round.

URLs are compared as C4 normalises them, by 64-bit hashes: of 10^9 documents one in forty has a chance of
10^-9 to be taken for another. Texts are read only of documents that we alone have, to tell what a recipe's
filters would say of them.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from gristmill.errors import InputError, UsageError
from gristmill.files.parquet import read_parquet
from gristmill.manifest import Manifest
from gristmill.pipeline.look.printing.figures import count, one_line
from gristmill.pipeline.look.printing.terminal import Paper, rows
from gristmill.pipeline.look.sides import EXAMPLES
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.records.final import final_documents, outlet
from gristmill.pipeline.sources.listing import files_below, match_files
from gristmill.pipeline.sources.rows.layouts import resolve_columns
from gristmill.urls import normalise_url

Keys = npt.NDArray[np.uint64]
ABSENT = "not in our input"
KEPT = "kept by both"
_BATCH = 100_000
MEASURED = 2000  # documents that we alone keep, judged by a recipe's filters


@dataclass(slots=True)
class Against:
    """Counts of their documents by what became of them here, and of ours that they lack."""

    theirs: int = 0
    without_url: int = 0
    because: Counter[str] = field(default_factory=Counter)
    by_language: dict[str, Counter[str]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    ours: int = 0
    only_ours: int = 0
    only_ours_by_language: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    their_rules: Counter[str] = field(default_factory=Counter)
    recipe: str = ""


@dataclass(slots=True)
class _Ours:
    """Keys of every URL that the run met, sorted, each with what became of it: an index of `reasons`."""

    keys: Keys
    reason: npt.NDArray[np.int64]
    reasons: list[str]


def published_files(path: str) -> list[str]:
    """The Parquet files that a path, folder or glob names; raises UsageError where there are none."""
    if glob.has_magic(path):
        found = [file.path for file in match_files(path)]
    else:
        found = files_below(path) if Path(path).is_dir() else [path] if Path(path).exists() else []
    found = [name for name in found if name.endswith(".parquet")]
    if not found:
        raise UsageError(
            f"`{path}` is neither the output folder of a run nor a published set",
            hint="a set is Parquet with a column of URLs, such as FineWeb's",
        )
    return found


def compare_published(out: Path, path: str, layout: str = "fineweb", recipe: str = "") -> Against:
    """Lay a run beside a published set; raises UsageError for what is no run, InputError for a set that
    cannot be read."""
    manifests = finished_steps(out)
    ours = _ours(manifests)
    try:
        columns = resolve_columns(layout)
    except ValueError as error:
        raise UsageError(str(error)) from error
    url = columns.get("url")
    if not isinstance(url, str) or not url:
        raise UsageError(f"the layout `{layout}` has no column of URLs", hint="documents are compared by URL")
    found, theirs = Against(), []
    for name in published_files(path):
        for keys, urls, languages in _read(name, url):
            theirs.append(keys)
            _meet(found, ours, keys, urls, languages)
    every = np.unique(np.concatenate(theirs)) if theirs else np.zeros(0, np.uint64)
    _only_ours(found, manifests, every, recipe)
    return found


def url_keys(urls: Sequence[str | None]) -> Keys:
    return np.array([xxhash.xxh3_64_intdigest(normalise_url(url or "").encode()) for url in urls], np.uint64)


def _ours(manifests: Mapping[str, Manifest]) -> _Ours:
    """What became of each URL; one that is kept anywhere is kept."""
    parts: list[tuple[Keys, int]] = []
    reasons = [KEPT]
    places = {KEPT: 0}
    for kind, column in (("removed", "rule"), ("failed", "error")):
        for part in outlet(manifests, kind):
            for path, _ in part.files:
                table = read_parquet(path, columns=["url", column])
                keys = url_keys(table["url"].to_pylist())
                step = part.step.partition("/")[0]
                said = np.array([f"{step}: {why}" for why in table[column].to_pylist()], object)
                for why in sorted(set(said)):
                    place = places.setdefault(why, len(reasons))
                    reasons += [why] if place == len(reasons) else []
                    parts.append((keys[said == why], place))
    for part in final_documents(manifests):
        for path, _ in part.files:
            parts.append((url_keys(read_parquet(path, columns=["url"])["url"].to_pylist()), 0))
    keys = np.concatenate([own for own, _ in parts]) if parts else np.zeros(0, np.uint64)
    reason = np.repeat([place for _, place in parts], [len(own) for own, _ in parts]).astype(np.int64)
    order = np.lexsort([reason, keys])  # kept comes first
    first = np.unique(keys[order], return_index=True)[1]
    return _Ours(keys[order][first], reason[order][first], reasons)


def _read(path: str, url: str) -> Iterator[tuple[Keys, list[str], list[str]]]:
    """Yield keys, URLs and languages of a published file, batch by batch."""
    outer, _, inner = url.partition(".")
    try:
        file = pq.ParquetFile(path)
        if outer not in file.schema_arrow.names:
            raise InputError(
                f"`{path}` has no column `{outer}`, it has {', '.join(file.schema_arrow.names)}",
                hint="say the layout: `--columns fineweb`, or a YAML file of your own",
            )
        _check_type(path, url, file.schema_arrow.field(outer).type)
        named = [name for name in (outer, "language") if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH, columns=named):
            urls = batch.column(outer).to_pylist()
            urls = [row and row.get(inner) for row in urls] if inner else urls
            codes = batch.column("language").to_pylist() if "language" in named else ["unknown"] * len(urls)
            yield url_keys(urls), [str(one or "") for one in urls], [str(code or "unknown") for code in codes]
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"the published set `{path}` cannot be read: {error}") from error


def _check_type(path: str, url: str, kind: pa.DataType) -> None:
    """Raise InputError for a column of URLs that holds no text."""
    _, _, inner = url.partition(".")
    if inner and pa.types.is_struct(kind):
        kind = kind.field(inner).type if kind.get_field_index(inner) >= 0 else pa.null()
    elif inner:
        kind = pa.null()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise InputError(
            f"the column `{url}` of `{path}` holds no URLs: {'nothing' if kind == pa.null() else kind}",
            hint="say where they stand: `--columns` with the name of a layout, or a YAML file of your own",
        )


def _meet(found: Against, ours: _Ours, keys: Keys, urls: Sequence[str], languages: Sequence[str]) -> None:
    place = np.minimum(np.searchsorted(ours.keys, keys), max(len(ours.keys) - 1, 0))
    there = ours.keys[place] == keys if len(ours.keys) else np.zeros(len(keys), bool)
    for row, (known, at) in enumerate(zip(there.tolist(), place.tolist(), strict=True)):
        found.theirs += 1
        if not urls[row]:
            found.without_url += 1
            continue
        because = ours.reasons[ours.reason[at]] if known else ABSENT
        found.because[because] += 1
        found.by_language.setdefault(languages[row], Counter())[because] += 1
        if because not in (KEPT, ABSENT) and len(found.examples) < EXAMPLES:
            found.examples.append({"url": urls[row], "because": because})


def _only_ours(found: Against, manifests: Mapping[str, Manifest], theirs: Keys, recipe: str) -> None:
    judges = _judges(recipe) if recipe else []
    found.recipe = recipe
    for part in final_documents(manifests):
        for path, _ in part.files:
            table = read_parquet(path)
            alone = ~np.isin(url_keys(table["url"].to_pylist()), theirs)
            found.ours += table.num_rows
            found.only_ours += int(alone.sum())
            mine = table.filter(pa.array(alone))
            found.only_ours_by_language.update(code or "unknown" for code in mine["language"].to_pylist())
            if judges and found.judged < MEASURED and mine.num_rows:
                _judge(found, judges, mine.slice(0, MEASURED - found.judged))


def _judges(recipe: str) -> list[Any]:
    """A shipped recipe's filters in its order, but for those that need lists or models."""
    from gristmill.filters.passes import compile_filters
    from gristmill.filters.settings import FilterSettings
    from gristmill.pipeline.recipe.file import make_recipe
    from gristmill.pipeline.recipe.shipped import shipped_recipe
    from gristmill.pipeline.recipe.turns import turns_of

    loaded = make_recipe(shipped_recipe(recipe).data)
    made = []
    for turn in turns_of(loaded):
        if isinstance(turn.settings, FilterSettings):
            own = turn.settings
            by_language = {code: said for code, said in own.by_language.items() if not isinstance(said, str)}
            bare = FilterSettings(
                presets=own.presets,
                set={
                    key: value
                    for key, value in own.set.items()
                    if not isinstance(value, str) or value == "off"
                },
                by_language=by_language,
                language=own.language,
            )
            made += [compile_filters(bare, loaded.seed)] if bare.names else []
    if not made:
        raise UsageError(f"the recipe `{recipe}` has no filters that would judge documents")
    return made


def _judge(found: Against, judges: Sequence[Any], documents: pa.Table) -> None:
    found.judged += documents.num_rows
    for filters in judges:
        outcome = filters.apply(documents)
        found.their_rules.update(outcome.removed["rule"].to_pylist())
        documents = outcome.kept
    found.their_rules["none of its filters"] += documents.num_rows


def as_json(found: Against) -> dict[str, Any]:
    return {
        "theirs": found.theirs,
        "without_url": found.without_url,
        "because": dict(found.because.most_common()),
        "by_language": {code: dict(tally.most_common()) for code, tally in found.by_language.items()},
        "examples": found.examples,
        "ours": found.ours,
        "only_ours": found.only_ours,
        "only_ours_by_language": dict(found.only_ours_by_language.most_common()),
        "recipe": found.recipe,
        "judged": found.judged,
        "their_rules": dict(found.their_rules.most_common()),
    }


def tell(found: Against, paper: Paper | None = None) -> Iterator[str]:
    """The comparison in 80 columns."""
    paper = paper or Paper()
    yield f"{count(found.theirs)} documents of the published set; in the run they are"
    codes = [code for code, _ in _languages(found).most_common(4)]
    shown = []
    for why, number in found.because.most_common():
        cells = (f"{found.by_language[code][why] / _languages(found)[code]:.1%}" for code in codes)
        shown.append([why, count(number), f"{number / max(found.theirs, 1):.1%}", *cells])
    if found.without_url:
        shown.append(["without a URL", count(found.without_url), "", *[""] * len(codes)])
    head = ["what became of them", "documents", "share", *codes]
    yield from rows(paper, head, shown, right=range(1, len(head)))
    for example in found.examples:
        yield f"    {one_line(example['url'], paper.width - 44)}  {one_line(example['because'])}"
    yield ""
    share = found.only_ours / max(found.ours, 1)
    yield f"{count(found.only_ours)} of the run's {count(found.ours)} documents ({share:.1%}) they lack"
    for code, number in found.only_ours_by_language.most_common(4):
        yield f"  {number:>9,}  {one_line(code)}"
    if found.judged:
        yield ""
        yield f"of {count(found.judged)} of these the filters of the recipe `{found.recipe}` would remove"
        for rule, number in found.their_rules.most_common():
            yield f"  {number:>9,}  {one_line(rule)}"


def _languages(found: Against) -> Counter[str]:
    return Counter({code: sum(tally.values()) for code, tally in found.by_language.items()})
